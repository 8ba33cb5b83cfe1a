"""The demo, as its user runs it."""

import html.parser

import pytest
from click.testing import CliRunner

from avsearch.cli import group
from avsearch.models import load_model
from indexer.index import Index
from trainer.data.synthetic.world import World
from trainer.recipes.synthetic_demo import NOTICE, PEOPLE, run_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo"))


def test_the_model_never_saw_the_people_it_is_shown_with():
    seen = {person for side in load_model("demo").record["people"].values() for person in side}
    assert seen
    assert not seen & {World().person(number).key for number in PEOPLE}


def test_everybody_is_indexed_and_the_index_is_clean(demo):
    assert (demo.report.people, demo.report.refused) == (len(PEOPLE), [])
    with Index.open(demo.index) as index:
        assert index.verify() == []
        assert index.space == load_model("demo").space


def test_voices_find_their_faces_far_better_than_knowing_the_gender_would(demo):
    assert demo.by_chance < demo.by_gender
    assert demo.mean_average_precision > 2 * demo.by_gender


def test_the_page_says_that_nobody_exists_and_holds_faces_and_voices(demo):
    text = demo.page.read_text()
    assert "Nobody on this page exists." in NOTICE
    assert NOTICE in html.unescape(text)
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(text)
    pictures = [at["src"] for tag, at in tags if tag == "img"]
    sounds = [at["src"] for tag, at in tags if tag == "audio"]
    assert len(pictures) == sum(len(shown.hits) for shown in demo.shown)
    assert len(sounds) == len(demo.shown)
    assert all(source.startswith("data:") for source in pictures + sounds)


def test_the_command_prints_answers_and_figures_and_runs_again(tmp_path):
    out = tmp_path / "shown"
    for _ in range(2):
        run = CliRunner().invoke(group, ["demo", "--out", str(out)])
        assert run.exit_code == 0, run.output
        assert "Whose voice is" in run.stdout
        assert "mAP" in run.stdout
        assert str(out / "demo.html") in run.stdout
