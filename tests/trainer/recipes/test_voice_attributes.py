from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from indexer.errors import BadRequest
from tests.helpers.sides import numbered_set
from trainer.data.features import with_private, write_feature_file
from trainer.data.sources import FeatureSource
from trainer.recipes.voice_attributes import VALUES, attributes, main, smile


@pytest.fixture
def data():
    """Two people; the second's one file holds two voices, whose features are 1 and 2."""
    made = numbered_set(faces=[0, 1], voices=[0, 1, 1])
    source = FeatureSource(np.arange(3.0)[:, None], ["ann.wav", "bob.wav", "bob.wav"])
    return dataclasses.replace(made, voices=dataclasses.replace(made.voices, source=source))


def test_each_file_has_one_row_that_every_voice_in_it_gets(data, tmp_path):
    table = attributes(data, lambda wave: np.full(VALUES, wave[0] + 10, np.float32))
    assert list(table.paths) == ["ann.wav", "bob.wav"]
    assert list(table.people) == ["person 000", "person 001"]
    write_feature_file(tmp_path / "private.safetensors", {"voice": table})
    private = with_private(data, "voice", tmp_path / "private.safetensors").voices.private
    assert private.shape == (3, VALUES)
    assert private[:, 5].tolist() == [10, 11, 11]


def test_data_without_voices_is_refused(data):
    mute = dataclasses.replace(data, voices=data.voices.take(np.empty(0, np.int64)))
    with pytest.raises(BadRequest, match="holds no voices"):
        attributes(mute, lambda wave: pytest.fail("there is no voice"))


def test_where_opensmile_is_not_installed_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    out = tmp_path / "voices.safetensors"
    done = CliRunner().invoke(main, ["--data", str(tmp_path), "--out", str(out)])
    assert done.exit_code == 2
    assert "pip install 'avsearch[opensmile]'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_opensmile_gives_finite_values_that_follow_the_loudness_of_a_voice():
    pytest.importorskip("opensmile", reason="the attributes need opensmile")
    extract = smile()
    wave = np.random.default_rng(0).normal(0, 0.05, 32_000).astype(np.float32)
    quiet, loud = extract(wave), extract(4 * wave)
    assert quiet.shape == (VALUES,)
    assert np.isfinite([quiet, loud]).all()
    assert loud[5] == pytest.approx(4 * quiet[5], rel=1e-3)  # mean RMS energy
