"""Files of ELAN and Praat."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pympi import Eaf, TextGrid

from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.turns import Turn
from indexer.errors import BadRequest

EXPECTED = (Turn(0.5, 1.5, "Ann", "hello"), Turn(2, 3.25, "Bob", "ho"))


@pytest.fixture
def eaf() -> Eaf:
    file = Eaf()
    file.remove_tier("default")
    for name, start_ms, end_ms, text in (("Ann", 500, 1500, "hello"), ("Bob", 2000, 3250, "ho")):
        file.add_tier(name)
        file.add_annotation(name, start_ms, end_ms, text)
    return file


def test_a_tier_of_elan_is_a_speaker(eaf: Eaf, tmp_path: Path) -> None:
    for name in ("talk.eaf", "talk.xml"):
        eaf.to_file(tmp_path / name)
        said = read_diarization(tmp_path / name)
        assert said.turns == EXPECTED
        assert said.notes == ()


def test_versions_that_pympi_does_not_know_are_read(eaf: Eaf, tmp_path: Path) -> None:
    file = tmp_path / "talk.eaf"
    eaf.to_file(file)
    file.write_text(file.read_text("utf-8").replace('VERSION="2.8"', 'VERSION="9.9"'), "utf-8")
    assert read_diarization(file).turns == EXPECTED


def test_a_file_of_elan_without_a_schema_is_read(eaf: Eaf, tmp_path: Path) -> None:
    file = tmp_path / "talk.eaf"
    eaf.to_file(file)
    text = re.sub(r'xsi:noNamespaceSchemaLocation="[^"]*"', "", file.read_text("utf-8"))
    file.write_text(text, "utf-8")
    assert read_diarization(file).turns == EXPECTED


def test_a_participant_names_a_tier_and_tiers_below_are_passed_over(
    eaf: Eaf, tmp_path: Path
) -> None:
    eaf.add_tier("tx@C", part="Cyn")
    eaf.add_annotation("tx@C", 4000, 5000, "hey")
    eaf.add_linguistic_type("translation", constraints="Symbolic_Association")
    eaf.add_tier("ft@C", ling="translation", parent="tx@C")
    eaf.add_ref_annotation("ft@C", "tx@C", 4500, "he")
    eaf.add_linguistic_type("words", constraints="Included_In")
    eaf.add_tier("words@C", ling="words", parent="tx@C")
    eaf.add_annotation("words@C", 4000, 4500, "hey")
    eaf.to_file(tmp_path / "talk.eaf")
    assert read_diarization(tmp_path / "talk.eaf").turns == (*EXPECTED, Turn(4, 5, "Cyn", "hey"))


def test_a_tier_called_speaker_holds_the_speakers(tmp_path: Path) -> None:
    file = Eaf()
    file.remove_tier("default")
    for name in ("Speakers", "noise"):
        file.add_tier(name)
    file.add_annotation("Speakers", 500, 1500, "Ann")
    file.add_annotation("Speakers", 2000, 3250, "Bob")
    file.add_annotation("noise", 0, 5000, "traffic")
    file.to_file(tmp_path / "talk.eaf")
    assert read_diarization(tmp_path / "talk.eaf").turns == (
        Turn(0.5, 1.5, "Ann"),
        Turn(2, 3.25, "Bob"),
    )


def test_annotations_without_a_time_are_left_out_with_a_note(eaf: Eaf, tmp_path: Path) -> None:
    file = tmp_path / "talk.eaf"
    eaf.to_file(file)
    file.write_text(re.sub(r' TIME_VALUE="3250"', "", file.read_text("utf-8")), "utf-8")
    said = read_diarization(file)
    assert said.turns == EXPECTED[:1]
    assert said.notes == ("annotations without a time, left out: 1.",)


@pytest.mark.parametrize(
    "content",
    [
        "<ANNOTATION_DOCUMENT",
        "<ANNOTATION_DOCUMENT><TIER></ANNOTATION_DOCUMENT>",
        '<ANNOTATION_DOCUMENT VERSION="3.0"><TIER></TIER></ANNOTATION_DOCUMENT>',
    ],
)
def test_a_damaged_file_of_elan_is_refused_in_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "talk.eaf").write_text(content)
    with pytest.raises(BadRequest, match=r"talk.eaf: it is no ELAN file that can be read"):
        read_diarization(tmp_path / "talk.eaf")


@pytest.fixture
def grid() -> TextGrid:
    made = TextGrid(xmin=0, xmax=4)
    made.add_tier("Ann").add_interval(0.5, 1.5, "hello")
    made.add_tier("Bob").add_interval(2, 3.25, "ho")
    return made


@pytest.mark.parametrize("mode", ["normal", "short", "binary"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_interval_of_praat_is_a_turn_of_its_tier(
    grid: TextGrid, mode: str, codec: str, tmp_path: Path
) -> None:
    file = tmp_path / "talk.TextGrid"
    grid.to_file(file, mode=mode)
    if mode != "binary":
        file.write_bytes(file.read_text("utf-8").encode(codec))
    said = read_diarization(file)
    assert said.turns == EXPECTED
    assert said.notes == ()


def test_points_of_praat_are_passed_over_with_a_note(grid: TextGrid, tmp_path: Path) -> None:
    grid.add_tier("bell", "TextTier").add_point(1, "ding")
    grid.to_file(tmp_path / "talk.TextGrid")
    said = read_diarization(tmp_path / "talk.TextGrid")
    assert said.turns == EXPECTED
    assert said.notes == ("tiers of points, left out: 1.",)


def test_numbers_of_praat_are_read_in_every_form(grid: TextGrid, tmp_path: Path) -> None:
    file = tmp_path / "talk.TextGrid"
    for mode in ("normal", "short"):
        grid.to_file(file, mode=mode)
        text = file.read_text("utf-8").replace("1.500000", "1.5e+00 ").replace("\n\n", "\n")
        file.write_text(text.replace("0.500000", "5E-1").replace("\n", "\r\n"), "utf-8", newline="")
        assert read_diarization(file).turns == EXPECTED


def test_times_of_praat_before_zero_are_refused(grid: TextGrid, tmp_path: Path) -> None:
    file = tmp_path / "talk.TextGrid"
    for mode in ("normal", "short"):
        grid.to_file(file, mode=mode)
        file.write_text(file.read_text("utf-8").replace("0.500000", "-0.500000"), "utf-8")
        with pytest.raises(BadRequest, match=r"talk\.TextGrid: it has a time before 0"):
            read_diarization(file)


@pytest.mark.parametrize("kept", [30, 120, 300])
def test_a_file_of_praat_that_is_cut_short_is_refused(
    grid: TextGrid, kept: int, tmp_path: Path
) -> None:
    file = tmp_path / "talk.TextGrid"
    for mode in ("normal", "short", "binary"):
        grid.to_file(file, mode=mode)
        file.write_bytes(file.read_bytes()[: min(kept, file.stat().st_size - 20)])
        with pytest.raises(BadRequest, match=r"talk\.TextGrid: it is no TextGrid that can be read"):
            read_diarization(file)
