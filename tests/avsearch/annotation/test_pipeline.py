"""Names for the speakers of a recording, with chords as voices."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from avsearch.annotation import embed_speech, pipeline
from avsearch.annotation.enrol import enrol_recording
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.formats.rttm import write_rttm
from avsearch.annotation.pipeline import AnnotateOptions, annotate_recording
from avsearch.annotation.result import Annotated, nearest_text
from avsearch.annotation.turns import Diarization, Turn
from avsearch.media.audio import read_audio
from avsearch.media.speech_segments import Span
from avsearch.media.vad import find_speech
from indexer.errors import BadRequest, ForeignSpace, RefusedFile
from indexer.index import Index
from indexer.types import Space
from tests.helpers.ears import CALIBRATIONS, EAR, RATE, Ear, conversation, index_of

SPOKEN = [
    Turn(0.0, 2.0, "ann"),
    Turn(1.5, 4.0, "bob"),
    Turn(4.5, 7.0, "dan"),
    Turn(7.5, 9.0, "ann"),
    Turn(9.0, 9.3, "cyn"),
]
LABELS = {"ann": "S1", "bob": "S2", "dan": "S3", "cyn": "S4"}
SAID = [turn._replace(speaker=LABELS[turn.speaker]) for turn in SPOKEN]
SECONDS = 9.5


def how_to(**settings: Any) -> AnnotateOptions:
    return AnnotateOptions(calibrations=CALIBRATIONS, **settings)


def named(
    source: Any, said: Any, index: Index, embedder: Ear, how: AnnotateOptions | None = None
) -> Annotated:
    return annotate_recording(source, said, index, embedder, how or how_to())


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return conversation(SPOKEN, SECONDS)


@pytest.fixture(scope="module")
def talk(samples: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with index_of(tmp_path / "index", ["ann", "bob", "cyn"], ["Ann A.", "Bob B.", "Cyn C."]) as it:
        yield it


@pytest.fixture
def annotated(talk: Path, index: Index) -> Annotated:
    return named(talk, SAID, index, Ear())


def test_known_voices_are_named_and_others_are_not(annotated: Annotated) -> None:
    assert annotated.labels == {"S1": "ann", "S2": "bob", "S3": "S3", "S4": "S4"}
    assert [each.person for each in annotated.speakers] == ["ann", "bob", None, None]
    assert [each.decision.name for each in annotated.speakers][:2] == ["Ann A.", "Bob B."]
    assert annotated.duration_s == pytest.approx(SECONDS, abs=1e-3)


def test_only_clean_speech_is_compared(annotated: Annotated) -> None:
    ann, bob, *_ = annotated.speakers
    assert (ann.speech_s, ann.clean_s) == (pytest.approx(3.5), pytest.approx(3.0))
    assert (bob.speech_s, bob.clean_s) == (pytest.approx(2.5), pytest.approx(2.0))


def test_reasons_say_how_much_was_heard_what_matched_and_by_how_much(annotated: Annotated) -> None:
    reasons = {each.speaker: each.reason for each in annotated.speakers}
    assert reasons["S1"].startswith("3.0 s of speech; ann: V-V 1.00, ")
    assert "before the next; probability 0." in reasons["S1"]
    assert reasons["S3"].endswith("and 0.5 is asked for.")
    assert reasons["S4"] == "speaks alone for 0.3 s; at least 0.5 s are needed."


def test_samples_in_memory_give_the_same_as_a_file(
    samples: np.ndarray, annotated: Annotated, index: Index
) -> None:
    source = {"waveform": samples[None], "sample_rate": RATE, "uri": "talk"}
    found = named(source, SAID, index, Ear())
    assert found.to_dict()["speakers"] == annotated.to_dict()["speakers"]
    assert found.path is None


def test_every_file_is_read_back_with_the_names(annotated: Annotated, tmp_path: Path) -> None:
    files = annotated.write(tmp_path / "out" / "deep")
    assert [file.name for file in files] == [
        "talk.rttm",
        "talk.json",
        "talk.audacity.txt",
        "talk.elan.txt",
        "talk.labelstudio.json",
        "talk.vtt",
        "talk.svg",
    ]
    *same, captions, picture = files
    for file in same:
        assert read_diarization(file).turns == annotated.named_turns
    called = {"ann": "Ann A.", "bob": "Bob B."}
    assert read_diarization(captions).turns == tuple(
        turn._replace(speaker=called.get(turn.speaker, turn.speaker))
        for turn in annotated.named_turns
    )
    drawn = picture.read_text()
    assert drawn.count('height="18"') == len(SAID)
    assert "S1: Ann A., 0." in drawn
    assert "S3: unknown<" in drawn
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(f.name for f in files)


def test_json_says_everything(annotated: Annotated) -> None:
    said = json.loads(json.dumps(annotated.to_dict()))
    assert list(said) == ["recording", "index", "model", "speakers", "segments", "notes"]
    assert said["recording"]["name"] == "talk"
    first = said["speakers"][0]
    assert (first["speaker"], first["person"], first["name"]) == ("S1", "ann", "Ann A.")
    assert [each["person"] for each in first["candidates"]] == ["ann", "cyn"]
    assert first["candidates"][0]["scores"].keys() == {"V-V"}
    assert 0.5 < first["probability"] < 1
    assert first["margin"] > 0
    assert said["segments"][0] == {"start": 0.0, "end": 2.0, "speaker": "ann", "diarized": "S1"}


def test_an_annotation_of_pyannote_comes_back_renamed(talk: Path, index: Index) -> None:
    from pyannote.core import Annotation, Segment

    before = Annotation(uri="talk")
    for number, turn in enumerate(SAID):
        before[Segment(turn.start_s, turn.end_s), number] = turn.speaker
    found = named(talk, before, index, Ear())
    renamed = before.rename_labels(found.labels)
    assert renamed.labels() == ["S3", "S4", "ann", "bob"]
    assert list(found.annotation().itertracks(yield_label=True)) == list(
        renamed.itertracks(yield_label=True)
    )
    assert found.annotation().uri == "talk"


def test_a_stranger_whose_label_is_somebodys_key_is_called_unknown(
    talk: Path, index: Index
) -> None:
    said = [turn._replace(speaker="bob" if turn.speaker == "S3" else turn.speaker) for turn in SAID]
    found = named(talk, said, index, Ear())
    assert found.labels["bob"] == "unknown bob"
    assert found.labels["S2"] == "bob"


def test_a_speaker_whom_the_diarizer_split_is_told(talk: Path, index: Index) -> None:
    said = [turn._replace(speaker="S9") if turn.start_s == 7.5 else turn for turn in SAID]
    found = named(talk, said, index, Ear())
    assert found.labels["S1"] == "ann"
    assert found.labels["S9"] == "S9"
    reasons = {each.speaker: each.reason for each in found.speakers}
    assert reasons["S9"].endswith("like ann, who is S1: one speaker may have been split in two.")
    split = next(each for each in found.to_dict()["speakers"] if each["speaker"] == "S9")
    assert split["elsewhere"] == ("ann", "S1")


def test_a_name_must_be_as_likely_as_is_asked(talk: Path, index: Index) -> None:
    found = named(talk, SAID, index, Ear(), how_to(min_probability=0.99))
    assert [each.person for each in found.speakers] == [None] * 4
    assert found.speakers[0].reason.endswith("and 0.99 is asked for.")


def test_a_model_without_calibration_names_nobody_and_says_so(talk: Path, index: Index) -> None:
    found = annotate_recording(talk, SAID, index, Ear())
    assert [each.person for each in found.speakers] == [None] * 4
    assert "carries no calibration" in found.notes[-1]


def test_an_empty_index_names_nobody(talk: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "empty", EAR) as empty:
        found = named(talk, SAID, empty, Ear())
    assert [each.person for each in found.speakers] == [None] * 4
    assert found.speakers[0].reason.endswith("nobody of the index is left to compare with.")


def test_a_model_of_another_space_is_refused(talk: Path, tmp_path: Path) -> None:
    other = Space("nose", "0", EAR.dim, "cosine")
    with Index.create(tmp_path / "other", other) as index, pytest.raises(ForeignSpace):
        named(talk, SAID, index, Ear())


def test_a_recording_that_cannot_be_read_is_refused(tmp_path: Path, index: Index) -> None:
    with pytest.raises(RefusedFile, match="there is no such file"):
        named(tmp_path / "none.wav", SAID, index, Ear())
    (tmp_path / "bad.wav").write_text("words")
    with pytest.raises(RefusedFile, match="not audio or video"):
        named(tmp_path / "bad.wav", SAID, index, Ear())


def test_turns_beyond_the_end_are_cut_and_of_another_recording_refused(
    talk: Path, index: Index
) -> None:
    found = named(talk, [*SAID, Turn(9.0, 20.0, "S1")], index, Ear())
    assert found.turns[-1] == Turn(9.0, 9.5, "S1")
    assert "beyond the end of the audio at 9.50 s" in found.notes[0]
    how = how_to(resume_folder=talk.parent / "kept")
    with pytest.raises(BadRequest, match="check that the turns are of this recording"):
        named(talk, [Turn(99.0, 100.0, "S1")], index, Ear(), how)
    assert list((talk.parent / "kept").iterdir()) == []


def test_a_stopped_run_goes_on_and_comes_to_the_same(
    talk: Path, index: Index, annotated: Annotated, tmp_path: Path
) -> None:
    how = how_to(resume_folder=tmp_path / "out")

    class Breaking(Ear):
        def embed(self, media: list) -> object:
            if self.embedded >= 2:
                raise KeyboardInterrupt
            return super().embed(media[:2]) if len(media) > 2 else super().embed(media)

    monkey = pytest.MonkeyPatch()
    monkey.setattr("avsearch.annotation.embed_speech._BATCH", 2)
    with monkey.context(), pytest.raises(KeyboardInterrupt):
        named(talk, SAID, index, Breaking(), how)
    ear = Ear()
    found = named(talk, SAID, index, ear, how)
    assert found.to_dict() == annotated.to_dict()
    fresh = Ear()
    named(talk, SAID, index, fresh)
    assert ear.embedded == fresh.embedded - 2
    assert list((tmp_path / "out").iterdir()) == []


def test_without_a_diarization_speech_is_found_and_grouped(
    talk: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finding of speech has its own tests; chords are none."""
    spans = [Span(0.0, 1.5), Span(2.0, 4.0), Span(4.5, 7.0), Span(7.5, 9.0)]
    monkeypatch.setattr(pipeline, "find_speech_in_stream", lambda stream: spans)
    found = named(talk, None, index, Ear())
    assert found.turns == tuple(
        Turn(*span, f"SPEAKER_{number:02d}")
        for span, number in zip(spans, (0, 1, 2, 0), strict=True)
    )
    assert [each.person for each in found.speakers] == ["ann", "bob", None]
    assert "a diarizer's file is better" in found.notes[0]
    two = named(talk, None, index, Ear(), how_to(speaker_count=2))
    assert len(two.speakers) == 2
    monkeypatch.setattr(pipeline, "find_speech_in_stream", lambda stream: [])
    with pytest.raises(RefusedFile, match="no speech found"):
        named(talk, None, index, Ear())


def test_enrolling_and_then_annotating_knows_the_new_person(talk: Path, index: Index) -> None:
    known = [turn._replace(speaker="dan") if turn.speaker == "S3" else turn for turn in SAID]
    enrolled = enrol_recording(talk, known, index, Ear())
    assert enrolled.voices == {"dan": (1, pytest.approx(2.5))}
    assert enrolled.new == ("dan",)
    assert enrolled.passed_over.keys() == {"S1", "S2", "S4"}
    assert named(talk, SAID, index, Ear()).labels["S3"] == "dan"
    _, vectors = index.vectors_of("dan", "voice")
    assert len(vectors) == 1
    assert index.verify() == []


def test_a_correction_replaces_what_was_enrolled(talk: Path, index: Index) -> None:
    enrol_recording(talk, SAID, index, Ear(), {"S1": "zoe", "S2": "bob"})
    again = enrol_recording(talk, SAID, index, Ear(), {"S1": "ann"})
    assert again.notes[-1].endswith("of bob, zoe, was replaced.")
    assert [who.key for who in index.people()] == ["ann", "bob", "cyn"]
    ids, _ = index.vectors_of("ann", "voice")
    assert len(ids) == 3 + 2
    ids, _ = index.vectors_of("bob", "voice")
    assert len(ids) == 3


def test_a_label_is_a_key_or_the_name_that_the_index_has(talk: Path, index: Index) -> None:
    names = {"S1": "ANN a.", "S2": "bob", "S3": "Dan D."}
    enrolled = enrol_recording(talk, SAID, index, Ear(), names)
    assert enrolled.voices.keys() == {"ann", "bob", "Dan D."}
    assert enrolled.new == ("Dan D.",)
    assert enrolled.passed_over.keys() == {"S4"}


def test_who_speaks_too_little_is_passed_over(talk: Path, index: Index) -> None:
    enrolled = enrol_recording(talk, SAID, index, Ear(), {"S1": "ann", "S4": "cyn"})
    assert enrolled.passed_over["S4"] == "speaks alone for less than 0.5 s."
    with pytest.raises(BadRequest, match="everybody who is named speaks alone for less than"):
        enrol_recording(talk, SAID, index, Ear(), {"S4": "cyn"})


def test_a_diarization_of_nobody_named_enrols_nobody(talk: Path, index: Index) -> None:
    anonymous = [
        turn._replace(speaker=label)
        for turn, label in zip(
            SAID, ("SPEAKER_00", "speaker 1", "7", "unknown bob", ""), strict=True
        )
    ]
    revision = index.revision
    with pytest.raises(BadRequest, match="No speaker has a name"):
        enrol_recording(talk, anonymous, index, Ear())
    with pytest.raises(BadRequest, match="Nobody is called 'S9'"):
        enrol_recording(talk, SAID, index, Ear(), {"S9": "ann"})
    assert index.revision == revision


def test_a_name_of_two_people_must_be_a_key(talk: Path, tmp_path: Path) -> None:
    with (
        index_of(tmp_path / "twins", ["ann", "bob"], ["Kim", "Kim"]) as index,
        pytest.raises(BadRequest, match="'kim' is the name of ann and of bob"),
    ):
        enrol_recording(talk, SAID, index, Ear(), {"S1": "kim"})


def test_what_was_enrolled_is_read_by_its_range_as_it_was_heard(talk: Path, index: Index) -> None:
    """Whoever embeds the items of an index again comes to the same vectors."""
    from avsearch.media import load_media
    from indexer.types import Media

    enrol_recording(talk, SAID, index, Ear(), {"S3": "dan"})
    ids, vectors = index.vectors_of("dan", "voice")
    with index.catalog.read() as read:
        item = read.items(ids)[int(ids[0])]
    media = Media(item.path, "voice", item.start_s, item.end_s)
    again = Ear().embed([dataclasses.replace(media, data=load_media(media))]).vectors[0]
    np.testing.assert_allclose(vectors[0], again / np.linalg.norm(again), atol=1e-5)


def test_names_survive_a_way_through_a_file_and_back(
    talk: Path, index: Index, annotated: Annotated, tmp_path: Path
) -> None:
    """annotate writes, a person corrects, enrol reads."""
    file = tmp_path / "talk.rttm"
    corrected = [
        t._replace(speaker="Dan the man") if t.speaker == "S3" else t for t in annotated.named_turns
    ]
    file.write_text(write_rttm(corrected, "talk"))
    enrolled = enrol_recording(talk, file, index, Ear())
    assert enrolled.voices.keys() == {"ann", "bob", "Dan the man"}


def test_the_nearest_person_is_told_of_everybody_named_or_not(
    talk: Path, index: Index, tmp_path: Path
) -> None:
    split = [turn._replace(speaker="S9") if turn.start_s == 7.5 else turn for turn in SAID]
    said = named(talk, split, index, Ear()).to_dict()["speakers"]
    nearest = {each["speaker"]: each["nearest"]["person"] for each in said}
    assert nearest == {"S1": "ann", "S2": "bob", "S3": nearest["S3"], "S9": "ann", "S4": "cyn"}
    assert all(each["nearest"]["scores"].keys() == {"V-V"} for each in said)
    assert {each["speaker"]: each["person"] for each in said}["S4"] is None
    with index_of(tmp_path / "one", ["ann"], ["Ann A."]) as one:
        found = named(talk, SAID, one, Ear())
    assert [nearest_text(each.decision)[:8] for each in found.speakers] == ["ann (V-V"] * 4
    with Index.create(tmp_path / "empty", EAR) as empty:
        found = named(talk, SAID, empty, Ear())
    assert [nearest_text(each.decision) for each in found.speakers] == ["-"] * 4
    assert found.to_dict()["speakers"][0]["nearest"] is None


def marked_by_hand() -> list[Turn]:
    """The turns of ann with what the others do in the pauses: silence, to a finder of speech."""
    return [Turn(0.0, 9.0, "S1")]


def test_silence_in_turns_is_not_compared(
    talk: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = named(talk, marked_by_hand(), index, Ear()).speakers
    assert whole.person is None
    monkeypatch.setattr(
        embed_speech, "find_speech_in_stream", lambda stream: [Span(0.0, 1.5), Span(7.5, 9.0)]
    )
    found = named(talk, marked_by_hand(), index, Ear())
    (cut,) = found.speakers
    assert cut.person == "ann"
    assert (cut.speech_s, cut.clean_s) == (pytest.approx(9.0), pytest.approx(3.0))
    assert found.turns == (Turn(0.0, 9.0, "S1"),)
    enrolled = enrol_recording(talk, marked_by_hand(), index, Ear(), {"S1": "zoe"})
    assert enrolled.voices == {"zoe": (2, pytest.approx(3.0))}


def test_turns_in_which_no_speech_is_found_are_compared_whole_with_a_note(
    talk: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_speech, "find_speech_in_stream", lambda stream: [Span(0.0, 1.5)])
    found = named(talk, SAID, index, Ear())
    assert found.labels == {"S1": "ann", "S2": "bob", "S3": "S3", "S4": "S4"}
    assert "speakers in whose turns no speech was found: S2, S3, S4." in found.notes
    enrolled = enrol_recording(talk, SAID, index, Ear(), {"S2": "bob"})
    assert enrolled.voices == {"bob": (1, pytest.approx(2.5))}  # where ann is silent too


def test_of_a_turn_marked_around_a_real_sentence_only_the_sentence_is_embedded(
    test_data: Path, index: Index
) -> None:
    """Recordings of RAVDESS begin and end with a second of silence."""
    path = min((test_data / "ravdess" / "Actor_01").glob("*.ogg"))
    samples = np.pad(read_audio(path), 3 * RATE)
    speech = find_speech(samples)
    source = {"waveform": samples, "sample_rate": RATE}
    (speaker,) = named(source, [(0, len(samples) / RATE, "S1")], index, Ear()).speakers
    assert speaker.clean_s <= speech[-1].end_s - speech[0].start_s < len(samples) / RATE - 6
    assert speaker.speech_s == pytest.approx(len(samples) / RATE)


@pytest.mark.parametrize(
    "person", ["p225", "1034", "P05", "B", "unknown bob", "SPEAKER_07", "a=b", " zoe ", "nan", "S2"]
)
def test_who_the_user_names_counts_whatever_it_looks_like(
    talk: Path, index: Index, person: str
) -> None:
    enrolled = enrol_recording(talk, SAID, index, Ear(), {"S1": person})
    assert enrolled.new == (person.strip(),)
    assert enrolled.voices.keys() == {person.strip()}
    assert enrolled.passed_over.keys() == {"S2", "S3", "S4"}
    again = enrol_recording(talk, SAID, index, Ear(), {"S1": person})
    assert again.new == ()


def test_names_may_be_numbers_and_of_any_normal_form(talk: Path, index: Index) -> None:
    said = [turn._replace(speaker="Zoe\u0308" if turn.speaker == "S1" else "S2") for turn in SAID]
    enrolled = enrol_recording(talk, said, index, Ear(), {"Zo\u00eb": 1034, "S2": "bob"})  # type: ignore[dict-item]
    assert enrolled.voices.keys() == {"1034", "bob"}


@pytest.mark.parametrize(
    "label", ["Speaker A", "speaker_b", "Unknown Speaker", "Guest-1", "cluster 3", "1.0", "p225"]
)
def test_labels_of_diarizers_in_a_file_are_nobodys_names(
    talk: Path, index: Index, label: str
) -> None:
    said = [Turn(0.0, 2.0, label), Turn(4.5, 7.0, "Jo")]
    enrolled = enrol_recording(talk, said, index, Ear())
    assert enrolled.voices.keys() == {"Jo"}
    assert enrolled.passed_over.keys() == {label}


def test_a_label_that_is_named_nobody_is_refused(talk: Path, index: Index) -> None:
    with pytest.raises(BadRequest, match="'S1' is named nobody"):
        enrol_recording(talk, SAID, index, Ear(), {"S1": " "})


def test_a_diarization_made_before_is_taken_as_it_is() -> None:
    said = Diarization((Turn(0, 1, "a"),))
    assert read_diarization(said) is said
