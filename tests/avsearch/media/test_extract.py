from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avsearch.media import MediaExtractor, load_media, vad
from avsearch.media.speech_segments import WINDOW_S
from indexer.errors import RefusedFile
from indexer.types import Modality
from tests.avsearch.media.images.test_read import png_bomb
from tests.helpers.making import encode, garble, record, tone, write_wav


def to_48k(samples: np.ndarray) -> np.ndarray:
    return samples.repeat(3).astype(np.float32)


def test_importing_is_cheap() -> None:
    code = (
        "import sys, avsearch.media; avsearch.media.MediaExtractor(); "
        "sys.exit(bool({'torch', 'facenet_pytorch', 'silero_vad'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_whole_pictures_need_no_torch(tmp_path: Path) -> None:
    Image.new("RGB", (160, 160)).save(tmp_path / "a.jpg")
    code = (
        "import sys, pathlib, avsearch.media as m; "
        "list(m.MediaExtractor('whole').extract(pathlib.Path(sys.argv[1]))); "
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.jpg")]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jpg", "image"),
        ("A.JPEG", "image"),
        ("a.b.Png", "image"),
        ("a.wav", "audio"),
        ("a.OPUS", "audio"),
        ("a.mp4", "video"),
        ("a.ts", "video"),
        ("people.csv", None),
        ("jpg", None),
        (".jpg", None),
    ],
)
def test_the_kind_is_read_off_the_name(
    extractor: MediaExtractor, name: str, kind: str | None
) -> None:
    assert extractor.kind(Path(name)) == kind


def test_settings_tell_the_modes_apart() -> None:
    assert MediaExtractor("detect").settings != MediaExtractor("whole").settings
    assert MediaExtractor("whole").settings == MediaExtractor("whole").settings


def test_every_face_of_a_picture_is_an_item(
    tmp_path: Path, extractor: MediaExtractor, portrait: np.ndarray
) -> None:
    Image.fromarray(np.concatenate([portrait, portrait], axis=1)).save(tmp_path / "two.png")
    items = list(extractor.extract(tmp_path / "two.png"))
    assert len(items) == 2
    for item in items:
        assert (item.modality, item.start_s, item.end_s) == ("face", 0, None)
        assert item.box is not None
        assert item.data.dtype == np.uint8
        assert item.data.shape[0] == item.data.shape[1]


def test_crops_of_large_pictures_stay_small(
    tmp_path: Path, extractor: MediaExtractor, portrait: np.ndarray
) -> None:
    Image.fromarray(portrait).resize((1500, 1500)).save(tmp_path / "a.jpg")
    (item,) = extractor.extract(tmp_path / "a.jpg")
    assert item.data.shape == (256, 256, 3)
    assert item.box.right - item.box.left > 400


def test_whole_takes_the_picture_as_it_is(tmp_path: Path) -> None:
    Image.new("RGB", (160, 160), "teal").save(tmp_path / "a.png")
    (item,) = MediaExtractor("whole").extract(tmp_path / "a.png")
    assert item.box is None
    assert item.data.shape == (160, 160, 3)


def test_speech_comes_in_stretches(
    tmp_path: Path, extractor: MediaExtractor, sentence: np.ndarray
) -> None:
    pause = np.zeros(48_000, np.float32)
    path = write_wav(tmp_path / "a.wav", np.concatenate([sentence, pause] * 5))
    items = list(extractor.extract(path))
    assert len(items) == 5
    for item in items:
        assert item.modality == "voice"
        assert item.data.dtype == np.float32
        assert len(item.data) == pytest.approx((item.end_s - item.start_s) * 16_000, abs=1)


@pytest.mark.parametrize("name", ["a.mp4", "a.wav"])
def test_speech_comes_in_windows_where_speakers_are_told_apart(
    tmp_path: Path, sentence: np.ndarray, name: str
) -> None:
    three = np.tile(sentence[15_000:40_000], 3)  # with short pauses, so that it is one stretch
    if name == "a.mp4":
        path = encode(tmp_path / name, sound=to_48k(three))
    else:
        path = write_wav(tmp_path / name, three)
    told, not_told = MediaExtractor(speakers=True), MediaExtractor()
    assert told.settings != not_told.settings
    windows = list(told.extract(path, "voice"))
    assert len(windows) > len(list(not_told.extract(path, "voice")))
    assert all(window.end_s - window.start_s <= WINDOW_S for window in windows)


def test_a_talking_head_has_both(extractor: MediaExtractor, test_data: Path) -> None:
    path = min((test_data / "grid").glob("*/*.mpg"))
    items = list(extractor.extract(path))
    assert {item.modality for item in items} == {"face", "voice"}
    (face,) = [item for item in items if item.modality == "face"]  # one shot
    assert face.box is not None
    assert face.data.shape == (*face.data.shape[:1] * 2, 3)


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_the_other_modality_is_left_out(
    extractor: MediaExtractor, test_data: Path, modality: Modality
) -> None:
    path = min((test_data / "grid").glob("*/*.mpg"))
    assert {item.modality for item in extractor.extract(path, modality)} == {modality}


def test_of_a_range_the_faces_of_its_first_frame_are_found(
    tmp_path: Path, extractor: MediaExtractor, portrait: np.ndarray
) -> None:
    black = np.zeros_like(portrait)
    path = encode(tmp_path / "a.mp4", frames=[black] * 10 + [portrait] * 10)
    (face,) = extractor.extract(path, "face", 1.5, 1.8)
    (still,) = extractor._faces_in(path, portrait)
    assert face.start_s == 1.5
    np.testing.assert_allclose(face.box, still.box, atol=8)
    with pytest.raises(RefusedFile, match="no face found"):
        next(extractor.extract(path, "face", 0.2, 0.8))
    (whole,) = MediaExtractor("whole").extract(path, "face", 0.2, 0.8)
    assert whole.data.shape == portrait.shape


def test_of_a_range_of_sound_all_is_taken(extractor: MediaExtractor, test_data: Path) -> None:
    path = min((test_data / "grid").glob("*/*.mpg"))
    face, voice = extractor.extract(path, None, 0.5, 1.75)
    assert (face.modality, face.start_s, face.end_s) == ("face", 0.5, None)
    assert (voice.modality, voice.start_s, voice.end_s) == ("voice", 0.5, 1.75)


def test_a_picture_has_no_times(tmp_path: Path, extractor: MediaExtractor) -> None:
    Image.new("RGB", (200, 200)).save(tmp_path / "a.png")
    with pytest.raises(RefusedFile, match="has no times"):
        extractor.extract(tmp_path / "a.png", "face", 1.0, 2.0)


def test_a_video_with_a_face_and_no_sound(
    tmp_path: Path, extractor: MediaExtractor, portrait: np.ndarray
) -> None:
    path = encode(tmp_path / "a.mp4", frames=[portrait] * 5)
    assert {item.modality for item in extractor.extract(path)} == {"face"}
    with pytest.raises(RefusedFile, match="no audio track"):
        next(extractor.extract(path, "voice"))


def test_a_sound_called_mp4_is_a_sound(
    tmp_path: Path, extractor: MediaExtractor, sentence: np.ndarray
) -> None:
    aac = encode(tmp_path / "aac.mp4", sound=to_48k(sentence))
    wav = write_wav(tmp_path / "wav.mp4", sentence)
    for path in (aac, wav):
        assert {item.modality for item in extractor.extract(path)} == {"voice"}


def test_a_video_with_neither_is_refused_for_both(
    tmp_path: Path, extractor: MediaExtractor
) -> None:
    black = [np.zeros((64, 96, 3), np.uint8)] * 10
    path = encode(tmp_path / "a.mp4", frames=black, sound=np.zeros(48_000, np.float32))
    with pytest.raises(RefusedFile, match=r"no clear face.*; no speech"):
        next(extractor.extract(path))


def test_a_quiet_voice_is_found_where_it_is(
    tmp_path: Path, extractor: MediaExtractor, sentence: np.ndarray
) -> None:
    items, quiet = (
        list(extractor.extract(write_wav(tmp_path / name, np.tile(sentence, 3) * level)))
        for name, level in (("a.wav", 1), ("b.wav", 1e-4))
    )
    assert sum(len(item.data) for item in quiet) > 0.8 * sum(len(item.data) for item in items)
    for item in quiet:
        again = load_media(dataclasses.replace(item, data=None))
        np.testing.assert_array_equal(again, item.data)


def test_voices_and_faces_of_a_video_have_the_times_at_which_they_are_played(
    tmp_path: Path, extractor: MediaExtractor, sentence: np.ndarray, portrait: np.ndarray
) -> None:
    """Two seconds of nothing, then a face; its voice a second later."""
    black = np.zeros_like(portrait)
    path = record(
        tmp_path / "a.mp4",
        pictures=[[black] * 50 + [portrait] * 100],
        sounds=[to_48k(np.tile(sentence, 2))],
        stamp=lambda kind, time_s: time_s + 3 * (kind == "audio"),
    )
    spoken = vad.find_speech(np.tile(sentence, 2))
    face, *voices = extractor.extract(path)
    assert face.start_s == pytest.approx(2, abs=1)
    assert face.start_s >= 2
    assert voices[0].start_s == pytest.approx(3 + spoken[0].start_s, abs=0.1)
    assert voices[-1].end_s == pytest.approx(3 + spoken[-1].end_s, abs=0.1)


@pytest.mark.parametrize("lost", ["audio", "video"])
def test_of_a_video_of_which_half_cannot_be_decoded_the_other_half_is_taken(
    tmp_path: Path,
    extractor: MediaExtractor,
    sentence: np.ndarray,
    portrait: np.ndarray,
    lost: str,
) -> None:
    path = record(tmp_path / "a.mkv", pictures=[[portrait] * 50], sounds=[to_48k(sentence)])
    garble(path, lost)
    notes: list[str] = []
    found = {item.modality for item in extractor.extract(path, on_note=notes.append)}
    assert found == {"face" if lost == "audio" else "voice"}
    assert any(f"its {lost} cannot be decoded" in note for note in notes)


def test_why_there_is_nothing_is_said_with_what_was_lost(
    tmp_path: Path, extractor: MediaExtractor
) -> None:
    hum = tone(50, 48_000, 10)
    path = encode(tmp_path / "a.mp3", sound=hum, codecs=("", "libmp3lame"))
    content = bytearray(path.read_bytes())
    content[9000:20_000] = np.random.default_rng(0).bytes(11_000)
    path.write_bytes(content)
    with pytest.raises(RefusedFile, match=r"no speech found.*; \d+ of \d+ packets of its audio"):
        next(extractor.extract(path))


def noise(seconds: float = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(16_000 * seconds)).astype(np.float32)


def make_bad_files(folder: Path) -> dict[str, str]:
    """Files nobody can use, and what is said about each."""
    for name in ("empty.jpg", "empty.wav", "empty.mp4"):
        (folder / name).touch()
    Image.fromarray(noise(0.768).view(np.uint8)[:49_152].reshape(128, 128, 3)).save(
        folder / "cut.jpg"
    )
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:5000])
    (folder / "text.jpg").write_text("Dear reader, this is a letter." * 50)
    (folder / "page.wav").write_text("<!DOCTYPE html><html><body>404</body></html>" * 50)
    Image.new("RGB", (200, 200), "green").save(folder / "meadow.png")
    png_bomb(folder / "bomb.png", 60_000)
    write_wav(folder / "silence.wav", np.zeros(32_000, np.float32))
    write_wav(folder / "noise.wav", noise())
    write_wav(folder / "nan.wav", np.where(np.arange(32_000) == 20_000, np.nan, noise()))
    write_wav(folder / "one.wav", np.ones(1, np.float32))
    soundfile.write(folder / "picture.wav", noise(), 16_000)
    cut = encode(folder / "cut.mp4", frames=[np.zeros((64, 96, 3), np.uint8)] * 50)
    cut.write_bytes(cut.read_bytes()[:-300])
    (folder / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(30_000))
    (folder / "notes.txt").write_text("notes")
    encode(folder / "beep.m4a", sound=tone(1000, 48_000, 2))
    return {
        "empty.jpg": "the file is empty",
        "empty.wav": "the file is empty",
        "empty.mp4": "the file is empty",
        "cut.jpg": "damaged or cut short",
        "text.jpg": "not an image of a known format",
        "page.wav": "not audio or video that can be decoded",
        "meadow.png": "no face found; an image that is a face crop already has to be taken whole",
        "bomb.png": "60000 x 60000 pixels",
        "silence.wav": "no speech found",
        "noise.wav": "no speech found",
        "nan.wav": "NaN or infinite samples, the first at 1.25 s",
        "one.wav": "too short for a voice",
        "cut.mp4": "cut short",
        "garbage.mp4": "not audio or video that can be decoded",
        "notes.txt": "no image, audio or video",
        "beep.m4a": "no speech found",
        "gone.jpg": "no such file",
    }


def test_every_bad_file_is_refused_with_a_sentence(
    tmp_path: Path, extractor: MediaExtractor
) -> None:
    for name, reason in make_bad_files(tmp_path).items():
        with pytest.raises(RefusedFile) as caught:
            next(extractor.extract(tmp_path / name))
        assert reason in caught.value.reason
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in caught.value.reason  # the path is said once, in front


@pytest.mark.parametrize("name", ["a.jpg", "a.wav", "a.mp4"])
def test_a_file_of_somebody_else_is_refused_for_now(
    tmp_path: Path, extractor: MediaExtractor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def forbidden(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(RefusedFile, match="no permission to read it") as caught:
        next(extractor.extract(tmp_path / name))
    assert not caught.value.permanent


def test_a_picture_has_no_voice_and_a_sound_no_face(
    tmp_path: Path, extractor: MediaExtractor
) -> None:
    with pytest.raises(RefusedFile, match="an image has no voice"):
        next(extractor.extract(tmp_path / "a.jpg", "voice"))
    with pytest.raises(RefusedFile, match="an audio file has no face"):
        next(extractor.extract(tmp_path / "a.wav", "face"))
