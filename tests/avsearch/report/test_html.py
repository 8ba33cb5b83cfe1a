import base64
import html.parser
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avsearch.report.html import MAX_SOUND_S, AnswerCard, QueryCard, render_page, write_page
from indexer.types import Box, Media

HOSTILE = '<script>alert("x")</script>'
VOID = {"meta", "img"}


class Page(html.parser.HTMLParser):
    """A page taken apart: its tags, what they hold, and whether each one closes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def sources(self, tag):
        return [attrs["src"] for name, attrs in self.tags if name == tag]


def decoded(uri):
    kind, content = uri.removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(content)


@pytest.fixture
def face(tmp_path):
    path = tmp_path / "face.png"
    pixels = np.zeros((200, 400, 3), dtype=np.uint8)
    pixels[:, 200:] = (255, 0, 0)
    Image.fromarray(pixels).save(path)
    return Media(path, "face")


@pytest.fixture
def voice(tmp_path):
    path = tmp_path / "voice.flac"
    soundfile.write(path, np.linspace(-0.5, 0.5, 32000), 16000)
    return Media(path, "voice")


def ask(asked, *found, **answer):
    answers = [
        AnswerCard(rank, "p1", "Ada", 0.5, media, **answer)
        for rank, media in enumerate(found, start=1)
    ]
    return QueryCard("Which?", asked, "asked", answers)


def test_pictures_and_sounds_are_inside_the_page(tmp_path, face, voice):
    path = tmp_path / "page.html"
    write_page(path, "Title", "Notice", [ask(voice, face, face), ask(face, voice)])
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert [decoded(uri)[0] for uri in page.sources("img")] == ["image/jpeg"] * 3
    for uri in page.sources("img"):
        assert Image.open(io.BytesIO(decoded(uri)[1])).size == (128, 64)
    assert len(page.sources("audio")) == 2
    assert decoded(page.sources("audio")[0]) == ("audio/flac", voice.path.read_bytes())
    assert str(tmp_path) not in path.read_text(encoding="utf-8")


def test_nothing_is_fetched(face, voice):
    page = Page(render_page("Title", "", [ask(voice, face)]))
    assert all(uri.startswith("data:") for tag in ("img", "audio") for uri in page.sources(tag))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert any("default-src 'none'" in attrs.get("content", "") for _, attrs in page.tags)


def test_no_words_become_markup(face):
    answer = AnswerCard(1, HOSTILE, HOSTILE, 0.5, face, {HOSTILE: HOSTILE})
    question = QueryCard(HOSTILE, face, HOSTILE + '" onload="x', [answer])
    text = render_page(HOSTILE, HOSTILE, [question], [(HOSTILE, HOSTILE)])
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any("onload" in attrs for _, attrs in page.tags)
    assert "".join(page.words).count(HOSTILE) == 11
    assert page.open == []


def test_notice_and_figures_are_shown_where_there_are_any(face):
    text = render_page("Title", "Nobody here exists.", [], [("people", "12")])
    page = Page(text)
    assert {"Nobody here exists.", "people", "12"} <= set(page.words)
    plain = {tag for tag, _ in Page(render_page("Title", "", [])).tags}
    assert not {"dl", "p"} & plain


@pytest.mark.parametrize(("correct", "word"), [(True, "right"), (False, "wrong"), (None, None)])
def test_right_and_wrong_are_said_in_words(face, correct, word):
    text = render_page("Title", "", [ask(face, face, correct=correct)])
    said = {each.strip() for each in Page(text).words} & {"right", "wrong"}
    assert said == ({word} if word else set())


def test_a_face_is_cut_to_its_box(face):
    boxed = Media(face.path, "face", box=Box(270.0, 60.0, 330.0, 120.0))  # red all around
    page = Page(render_page("Title", "", [ask(boxed)]))
    shown = np.asarray(Image.open(io.BytesIO(decoded(page.sources("img")[0])[1])))
    assert 60 <= shown.shape[0] == shown.shape[1] < 128
    assert (shown[..., 0] > 240).all()


def test_a_stretch_of_a_sound_is_cut_out(voice):
    part = Media(voice.path, "voice", start_s=0.5, end_s=1.5)
    kind, content = decoded(Page(render_page("Title", "", [ask(part)])).sources("audio")[0])
    samples, rate = soundfile.read(io.BytesIO(content))
    assert (kind, rate) == ("audio/wav", 16000)
    np.testing.assert_allclose(samples, np.linspace(-0.5, 0.5, 32000)[8000:24000], atol=1e-3)


def test_a_long_sound_is_cut_short(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((16000 * 40, 2)), 16000)
    page = Page(render_page("Title", "", [ask(Media(path, "voice"))]))
    samples, rate = soundfile.read(io.BytesIO(decoded(page.sources("audio")[0])[1]))
    assert samples.shape == (MAX_SOUND_S * rate,)


def test_media_that_come_decoded_are_not_read_again(tmp_path):
    face = Media(tmp_path / "a.mp4", "face", data=np.zeros((20, 20, 3), dtype=np.uint8))
    voice = Media(tmp_path / "a.mp4", "voice", data=np.zeros(8000, dtype=np.float32))
    page = Page(render_page("Title", "", [ask(face, voice)]))
    assert len(page.sources("img")) == len(page.sources("audio")) == 1


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_a_file_that_cannot_be_read_leaves_a_line(tmp_path, modality):
    (tmp_path / "broken").write_bytes(b"not media")
    for name in ("broken", "missing"):
        page = Page(render_page("Title", "", [ask(Media(tmp_path / name, modality))]))
        assert f"This {modality} cannot be shown." in page.words


def test_a_page_that_fails_leaves_the_old_one(tmp_path, face, monkeypatch):
    path = tmp_path / "page.html"
    write_page(path, "Old", "", [])
    old = path.read_bytes()
    with pytest.raises(AttributeError):
        write_page(path, "New", "", [None])
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_page(path, "New", "", [ask(face)])
    assert path.read_bytes() == old
    assert [each.name for each in tmp_path.iterdir() if each.suffix != ".png"] == ["page.html"]


def test_writing_a_page_needs_no_torch():
    code = "import sys, avsearch.report.html; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
