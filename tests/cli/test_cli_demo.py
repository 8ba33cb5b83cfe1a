"""avsearch demo of a gallery of one's own."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from avsearch.report.gallery_page import NOTICE
from indexer.index import Index
from tests.helpers.fakes import SPACE


def test_a_gallery_is_asked_with_itself_and_shown_on_one_page(
    run: Callable[..., Result], actors: Path, tmp_path: Path
) -> None:
    result = run("demo", "--gallery", actors, "--out", tmp_path / "shown", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    asked = {kind["way"]: (kind["people"], kind["questions"]) for kind in shown["kinds"]}
    assert asked == {"V-F": (2, 4), "F-V": (2, 2), "V-V": (2, 4)}
    assert shown["page"] == str(tmp_path / "shown" / "gallery.html")
    text = Path(shown["page"]).read_text()
    assert NOTICE in html.unescape(text)
    # A question of each kind about each of them, and both of them in every answer.
    pictures, sounds = (len(re.findall(f"<{tag} ", text)) for tag in ("img", "audio"))
    assert (pictures, sounds) == (2 * 2 + 2, 2 + 2 * 2 + 2 * 3)
    assert text.count('class="answer right"') == text.count('class="answer wrong"') == 6
    assert "cannot be shown" not in text
    again = run("demo", "--gallery", actors, "--out", tmp_path / "shown")
    assert (again.exit_code, again.stderr) == (0, "")
    assert "a voice, for faces" in again.stdout
    assert Path(shown["page"]).read_text() == text


def test_an_index_of_another_model_advises_what_the_verb_has(
    run: Callable[..., Result], actors: Path, tmp_path: Path
) -> None:
    Index.create(tmp_path / "shown" / "index", SPACE).close()
    result = run("demo", "--gallery", actors, "--out", tmp_path / "shown")
    assert result.exit_code == 2
    assert "an index of another model than the default" in result.stderr
    assert re.findall(r"--\w+", result.stderr) == ["--out"]


def test_where_nothing_can_be_asked_a_sentence_says_so(
    run: Callable[..., Result], actors: Path, tmp_path: Path
) -> None:
    for sound in actors.rglob("*.ogg"):
        sound.unlink()
    result = run("demo", "--gallery", actors, "--out", tmp_path / "shown")
    assert result.exit_code == 2
    assert "There is nothing to ask in" in result.stderr
    assert not (tmp_path / "shown" / "gallery.html").exists()
