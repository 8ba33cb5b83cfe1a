from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.training.logging import Log, plain_numbers, read_log
from trainer.training.plots import interval_means, plot_curves


def rows(path, steps) -> None:
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in steps))


def test_a_log_goes_on_after_the_steps_that_stand(tmp_path):
    path = tmp_path / "log.jsonl"
    rows(path, [1, 2, 2, 3, 4])
    log = Log(path, 2)
    log.write({"step": 3, "again": True})
    log.close()
    assert read_log(path) == [{"step": 1}, {"step": 2}, {"step": 2}, {"step": 3, "again": True}]


def test_a_line_that_was_cut_short_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    rows(path, [1, 2])
    path.write_text(path.read_text() + '{"step": 3, "te')
    assert read_log(path) == [{"step": 1}, {"step": 2}]
    Log(path, 9).close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_line_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    log = Log(tmp_path / "log.jsonl", 0)
    log.write({"step": 1})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}]
    log.close()


def test_what_json_has_no_number_for_is_none():
    assert plain_numbers({"a": 1.5, "b": math.nan, "c": -math.inf}) == {
        "a": 1.5,
        "b": None,
        "c": None,
    }


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=50), st.integers(1, 60))
def test_stretches_are_means_of_neighbours(values, most):
    seen = interval_means(np.array(values), most)
    length = math.ceil(len(values) / most)
    parts = [values[at : at + length] for at in range(0, len(values), length)]
    assert len(seen) <= most
    assert seen == pytest.approx([sum(part) / len(part) for part in parts], abs=1e-9)


@pytest.mark.parametrize("name", ["curves.png", "curves.svg"])
def test_curves_show_every_term_and_score_even_where_one_is_no_number(name, tmp_path):
    pytest.importorskip("matplotlib", reason="the curves need matplotlib")
    log = Log(tmp_path / "log.jsonl", 0)
    for step in range(1, 9):
        terms = {"critic": 1.0} if step % 3 == 1 else {"triplet": 2 / step}
        log.write({"step": step, "rate": 0.1, "settled": step > 6, "terms": terms})
    log.write({"step": 4, "scores": {"score": 0.5, "auc": None}, "best": True})
    log.write({"step": 8, "scores": {"score": 0.4, "auc": 0.7}, "best": False})
    log.close()
    plot_curves(tmp_path / "log.jsonl", tmp_path / name, "adsm")
    picture = (tmp_path / name).read_bytes()
    assert len(picture) > 5000
    if name.endswith("svg"):
        for word in (b"critic", b"triplet", b"settled", b"auc", b"kept: step 4"):
            assert word in picture
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["log.jsonl", name])
