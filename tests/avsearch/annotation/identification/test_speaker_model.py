from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avsearch.annotation.identification.clustering import equal_odds_score
from avsearch.annotation.identification.evidence_matrix import (
    SpeakerVector,
    compare,
    read_calibrations,
)
from avsearch.annotation.identification.plda import PLDA, VoiceVectors
from avsearch.annotation.identification.speaker_model import (
    SpeechSegment,
    inliers,
    speaker_models,
    weighted_mean,
)
from avsearch.calibration import Calibration
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Stat
from indexer.types import Media
from tests.helpers.ears import CALIBRATIONS, EAR, Ear, chord, index_of

AXES = np.eye(3, dtype=np.float32)


def stretch(who: str, start_s: float, end_s: float, vector: np.ndarray) -> SpeechSegment:
    return SpeechSegment(who, Span(start_s, end_s), vector / np.linalg.norm(vector))


def test_a_speaker_is_the_mean_of_the_stretches_by_their_length() -> None:
    (voice,) = speaker_models([stretch("a", 0, 3, AXES[0]), stretch("a", 5, 6, AXES[1])]).values()
    np.testing.assert_allclose(voice.vector, np.array([3, 1, 0]) / np.sqrt(10), rtol=1e-6)
    assert (voice.speech_s, len(voice.segments), voice.dropped) == (4, 2, 0)


def test_a_stretch_that_is_somebody_else_is_dropped() -> None:
    rng = np.random.default_rng(0)
    alike = [stretch("a", n, n + 1, AXES[0] + 0.1 * rng.random(3)) for n in range(9)]
    (voice,) = speaker_models([*alike, stretch("a", 20, 21, -AXES[0])]).values()
    assert voice.dropped == 1
    assert voice.speech_s == 9
    assert voice.segments == tuple(alike)


def test_among_three_there_is_no_outlier_nor_where_much_is_odd() -> None:
    three = np.stack([AXES[0], AXES[0], -AXES[0]])
    assert inliers(three, np.ones(3)).all()
    many = np.stack([AXES[0]] * 4 + [AXES[1]] * 2)
    assert inliers(many, np.ones(6)).all()


@given(arrays(np.float32, (6, 3), elements=st.floats(-1, 1, width=32)), st.floats(0.5, 2))
def test_the_mean_has_length_one_and_minds_only_the_shares(rows: np.ndarray, factor: float) -> None:
    weights = np.arange(1.0, 7.0)
    mean = weighted_mean(rows, weights)
    total = weights @ rows.astype(float)
    if np.linalg.norm(total) > 1e-3:
        assert np.linalg.norm(mean) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(weighted_mean(rows, factor * weights), mean, atol=1e-5)


def test_evidence_is_the_calibrated_cosine_of_means(tmp_path: Path) -> None:
    media = [Media(tmp_path, "voice", data=chord(who, 2.0)) for who in ("ann", "bob")]
    rows = Ear().embed(media).vectors
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    with index_of(tmp_path / "index", ["ann", "bob", "cyn"]) as index:
        sensed = {f"S{at}": {"voice": SpeakerVector(row, 2.0)} for at, row in enumerate(rows)}
        found = compare(index, sensed, CALIBRATIONS)
        for row in range(2):
            for column, who in enumerate(("ann", "bob", "cyn")):
                _, held = index.vectors_of(who)
                unit = (held / np.linalg.norm(held, axis=1, keepdims=True)).mean(0)
                cosine = float(rows[row] @ unit / np.linalg.norm(unit))
                assert found.scores["voice", "voice"][row, column] == pytest.approx(
                    cosine, abs=1e-5
                )
                expected = CALIBRATIONS["V-V"].scale * cosine + CALIBRATIONS["V-V"].offset
                assert found.ratios[row, column] == pytest.approx(expected, abs=1e-4)
    assert [who.key for who in found.people] == ["ann", "bob", "cyn"]
    assert found.size == 3
    assert np.isnan(found.scores["voice", "face"]).all()


KINDS = ("voice", "face")


def test_evidence_is_added_and_across_the_modalities_counts_only_alone(tmp_path: Path) -> None:
    """A has both, B a voice, C a face; so have the speakers."""
    rng = np.random.default_rng(3)
    kinds = {"A": KINDS, "B": ("voice",), "C": ("face",)}
    held = {(who, kind): unit(rng) for who in kinds for kind in kinds[who]}
    sensed = {who: {kind: SpeakerVector(unit(rng), 1.0) for kind in kinds[who]} for who in kinds}
    calibrations = {
        f"{a[0].upper()}-{b[0].upper()}": Calibration(3.0 + n, -1.0 - n)
        for n, (a, b) in enumerate((a, b) for a in KINDS for b in KINDS)
    }
    with Index.create(tmp_path / "index", EAR) as index:
        enrol(index, held)
        found = compare(index, sensed, calibrations)
    for row, speaker in enumerate(kinds):
        for column, who in enumerate(kinds):
            pairs = [(mine, theirs) for mine in kinds[speaker] for theirs in kinds[who]]
            counted = [(mine, theirs) for mine, theirs in pairs if mine == theirs] or pairs
            total = 0.0
            for mine, theirs in counted:
                known = calibrations[f"{mine[0].upper()}-{theirs[0].upper()}"]
                cosine = float(sensed[speaker][mine].vector @ held[who, theirs])
                total += known.scale * cosine + known.offset
            assert found.ratios[row, column] == pytest.approx(total, abs=1e-5)


def test_two_voices_are_compared_by_the_speech_they_are_known_from(tmp_path: Path) -> None:
    """Everybody has three seconds in the index; the ratio of cosines is not asked."""
    rng = np.random.default_rng(4)
    ones = np.ones(EAR.dim)
    plda = PLDA(0 * ones, np.eye(EAR.dim), 2 * ones, 0.5 * ones, 3 * ones, 0.7, -0.2)
    sensed = {
        "S0": {"voice": SpeakerVector(unit(rng), 4.0)},
        "S1": {"face": SpeakerVector(unit(rng), 9.0)},
    }
    with index_of(tmp_path / "index", ["ann", "bob"]) as index:
        found = compare(index, sensed, CALIBRATIONS, plda)
        for column, who in enumerate(("ann", "bob")):
            _, held = index.vectors_of(who)
            mean = weighted_mean(held / np.linalg.norm(held, axis=1)[:, None], np.ones(3))
            one, other = (
                VoiceVectors(row[None], np.array([seconds]))
                for row, seconds in ((sensed["S0"]["voice"].vector, 4.0), (mean, 3.0))
            )
            assert found.ratios[0, column] == pytest.approx(plda(one, other)[0, 0], abs=1e-4)
    assert found.ratios[1].tolist() == [0.0, 0.0]


def unit(rng: np.random.Generator) -> np.ndarray:
    row = rng.standard_normal(EAR.dim).astype(np.float32)
    return row / np.linalg.norm(row)


def enrol(index: Index, held: dict[tuple[str, str], np.ndarray]) -> None:
    files = []
    for (who, kind), row in held.items():
        path = Path("/") / f"{who}.{kind}"
        record = FileRecord(
            path, Path("/"), Stat(1, 1), "", "test", frozenset({(who, kind, 0.0, None)})
        )
        files.append((record, [NewItem(who, kind, 0.0, None, None, row)]))
    with index.writing() as catalog, catalog.write("test") as write:
        write.put_files(files, {})


def test_a_direction_that_is_not_calibrated_says_nothing(tmp_path: Path) -> None:
    with index_of(tmp_path / "index", ["ann"]) as index:
        row = np.ones(32, np.float32) / np.sqrt(32)
        sensed = {"S0": {"voice": SpeakerVector(row, 1.0)}}
        found = compare(index, sensed, {"F-F": Calibration(1, 0)})
        assert found.ratios.tolist() == [[0.0]]


def test_people_beyond_what_a_calibration_supports_are_still_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    held = {("ann", "voice"): unit(rng), ("bob", "voice"): unit(rng)}
    sensed = {"S0": {"voice": SpeakerVector(held["bob", "voice"], 1.0)}}
    with Index.create(tmp_path / "index", EAR) as index:
        enrol(index, held)
        found = compare(index, sensed, {"V-V": Calibration(3, 5, least=-0.1, most=0.1)})
    cosines = [float(held["bob", "voice"] @ held[who, "voice"]) for who in ("ann", "bob")]
    assert found.ratios[0] == pytest.approx(3 * np.array(cosines) + 5, abs=1e-5)


def test_a_calibration_is_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"V-V": {"scale": 7, "offset": -2}}')
    assert read_calibrations(path) == {"V-V": Calibration(7.0, -2.0)}
    assert equal_odds_score(read_calibrations(path), "V-V") == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"X-Y": {}}', '{"V-V": 3}', '{"V-V": {"scale": "a"}}']
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(BadRequest, match="is no calibration"):
        read_calibrations(path)
    with pytest.raises(BadRequest, match="cannot be read: No such file"):
        read_calibrations(tmp_path / "none.json")
