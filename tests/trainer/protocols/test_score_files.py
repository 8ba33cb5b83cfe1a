from __future__ import annotations

import numpy as np
import pytest

from indexer.errors import BadRequest
from tests.trainer.evaluation.test_score import PEOPLE, blind, perfect, world_items
from trainer.evaluation.score import score
from trainer.evaluation.scorers import ReadyScores
from trainer.protocols.generate import Generator
from trainer.protocols.score_files import read_scores


@pytest.fixture
def items():
    return world_items()


@pytest.fixture
def matching(items):
    return Generator(items, "voice", "face").matching(3)


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> object:
        (tmp_path / "scores.csv").write_text(text)
        return tmp_path / "scores.csv"

    return write


@pytest.mark.parametrize("kind", ["verification", "matching", "retrieval"])
def test_ready_scores_give_the_figures_of_who_computed_them(items, kind):
    generator = Generator(items, "voice", "face")
    made = generator.matching(3) if kind == "matching" else getattr(generator, kind)()
    scorer = blind(items)
    scored = score(made, scorer)
    ready = scored.values
    if kind == "retrieval":
        paths = np.array(items.paths, object)
        ready = scorer.matrix(paths[made.queries].tolist(), paths[made.gallery].tolist())
    assert score(made, ReadyScores(ready)).metrics() == scored.metrics()


@pytest.mark.parametrize("shape", ["a line a trial", "a line a candidate", "commas", "array"])
def test_scores_are_read_in_the_order_of_the_list(matching, tmp_path, write, shape):
    scores = np.random.default_rng(0).standard_normal(matching.candidates.shape)
    separator = "," if shape == "commas" else " "
    if shape == "array":
        np.save(tmp_path / "scores.npy", scores)
        path = tmp_path / "scores.npy"
    elif shape == "a line a candidate":
        path = write("score\n" + "\n".join(map(repr, scores.ravel().tolist())) + "\n")
    else:
        path = write("\n".join(separator.join(map(repr, row)) for row in scores.tolist()))
    assert (read_scores(path, matching) == scores).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n1 2\n", r"scores\.csv, line 2: 3 scores are expected, 2"),
        ("1 2 3\n\n1 nan 3\n", r"scores\.csv, line 3: 'nan' is no score"),
        ("1 2 3\n1 x 3\n", r"scores\.csv, line 2: 'x' is no score"),
        ("1\n2\n3\n", rf"ends at line 3 of 1 scores; .* has {PEOPLE * 3} trials of 3"),
        ("", r"ends at line 0"),
    ],
)
def test_scores_that_are_wrong_are_refused(matching, write, text, message):
    with pytest.raises(BadRequest, match=message):
        read_scores(write(text), matching)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[1.0, np.nan]]), r"scores\.npy, row 1: a score is not finite"),
        (np.array(["a"]), "holds no one or two-dimensional array of numbers"),
        (np.array([{}], object), "is no array of scores"),
        (np.ones((2, 2)), r"each of which needs one"),
    ],
)
def test_arrays_that_are_wrong_are_refused(matching, tmp_path, values, message):
    np.save(tmp_path / "scores.npy", values, allow_pickle=True)
    with pytest.raises(BadRequest, match=message):
        read_scores(tmp_path / "scores.npy", matching)


def test_perfect_scores_are_judged_so(items, matching):
    ready = ReadyScores(score(matching, perfect(items)).values)
    assert score(matching, ready).metrics().figures["accuracy"].value == 1
