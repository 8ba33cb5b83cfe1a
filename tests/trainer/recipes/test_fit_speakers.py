"""The recipe of what voices are worth: what it takes for people of an index, and for speakers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsearch.annotation.identification.speaker_model import weighted_mean
from indexer.types import Media
from tests.helpers.ears import RATE, Ear, chord
from trainer.recipes import fit_speakers as recipe
from trainer.recipes.galleries import Example


def spoken(*lengths_s: float) -> dict[str, list[np.ndarray]]:
    """Stretches of these lengths of everybody."""
    return {who: [chord(who, seconds) for seconds in lengths_s] for who in ("ann", "bob", "cyn")}


def test_half_of_everybody_is_of_an_index_and_half_speaks() -> None:
    voices = recipe.embed_people(spoken(2.0, 3.0, 4.0), Ear(), np.random.default_rng(0))
    assert voices.people.seconds.tolist() == [6.0] * 3  # the first and the third
    assert voices.owners.tolist() == [who for who in range(3) for _ in range(recipe.SPEAKERS)]
    assert (voices.speakers.seconds >= recipe.SHORTEST_S).all()
    assert (voices.speakers.seconds <= 3.0).all()
    for who, every in enumerate(spoken(2.0, 3.0, 4.0).values()):
        rows = [Ear().embed([media_of(one)]).vectors[0] for one in every[::2]]
        units = np.stack([row / np.linalg.norm(row) for row in rows])
        mean = weighted_mean(units, np.array([2.0, 4.0]))
        np.testing.assert_allclose(voices.people.vectors[who], mean, atol=1e-6)
        likeness = voices.speakers.vectors[voices.owners == who] @ voices.people.vectors.T
        assert (likeness.argmax(1) == who).all()


def media_of(samples: np.ndarray) -> Media:
    return Media(Path("a"), "voice", data=samples)


def test_pairs_are_of_some_of_the_people() -> None:
    voices = recipe.embed_people(spoken(2.0, 3.0), Ear(), np.random.default_rng(0))
    pairs = voices.pairs(slice(1, None))
    assert pairs.same.shape == (2 * recipe.SPEAKERS, 2)
    assert pairs.same.sum(0).tolist() == [recipe.SPEAKERS] * 2
    np.testing.assert_array_equal(pairs.people.vectors, voices.people.vectors[1:])
    np.testing.assert_array_equal(
        pairs.speakers.vectors, voices.speakers.vectors[recipe.SPEAKERS :]
    )


def test_a_part_lies_in_the_stretch_and_lasts_a_second_or_more() -> None:
    samples = np.arange(3 * RATE, dtype=np.float32)
    rng = np.random.default_rng(1)
    parts = [recipe.part(samples, rng) for _ in range(50)]
    assert all((np.diff(one) == 1).all() for one in parts)
    assert {len(one) >= RATE for one in parts} == {True}
    assert len({len(one) for one in parts}) > 40
    short = recipe.part(samples[:100], rng)
    assert len(short) == 100


def test_noise_is_as_far_below_the_speech_as_was_asked() -> None:
    samples = chord("bob", 2.0)
    rng = np.random.default_rng(2)
    for below_db in (5.0, 20.0, 35.0):
        noise = recipe.in_noise(samples, below_db, rng) - samples
        assert 10 * np.log10(np.mean(samples**2) / np.mean(noise**2)) == pytest.approx(
            below_db, abs=0.1
        )


def test_a_speaker_is_heard_in_the_noise_of_one_recording(monkeypatch) -> None:
    monkeypatch.setattr(recipe, "in_noise", lambda samples, below_db, _: (len(samples), below_db))
    rng, levels = np.random.default_rng(3), set()
    for _ in range(20):
        heard = recipe.in_a_recording([chord("ann", 2.0)] * 5, rng)
        assert 1 <= len(heard) <= 5
        assert all(RATE <= length <= 2 * RATE for length, _ in heard)
        assert len({below_db for _, below_db in heard}) == 1
        levels.add(heard[0][1])
    assert len(levels) == 20
    assert recipe.NOISE_DB[0] <= min(levels) < max(levels) <= recipe.NOISE_DB[1]


@pytest.mark.parametrize(
    ("seconds", "expected"), [((5.0,), [2.5, 2.5]), ((1.5,), []), ((3.0, 1.0), [3.0, 1.0])]
)
def test_the_only_stretch_of_somebody_is_halved(
    monkeypatch, seconds: tuple[float, ...], expected: list[float]
) -> None:
    examples = [
        Example("set/ann", "f", "voice", Path(f"{at}.wav"), np.ones(round(s * RATE)))
        for at, s in enumerate(seconds)
    ]
    monkeypatch.setattr(recipe, "GALLERIES", ("set",))
    monkeypatch.setattr(recipe, "read_gallery", lambda *_: examples)
    found = recipe.read_voices(Path("data"), ["set/ann"])
    assert [len(each) / RATE for each in found.get("set/ann", [])] == expected
