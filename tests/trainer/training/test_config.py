from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsearch.models import MODELS
from indexer.errors import BadRequest
from trainer.training.config import make_settings


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    dim: int = 128
    margin: float = 0.6
    adversary: bool = True
    trunk: Literal["conv5", "resnet18"] = "conv5"
    widths: tuple[int, ...] = (64,)
    classes: int = 2

    def __post_init__(self):
        if self.dim < 1:
            raise ValueError("dim must be 1 or more.")

    @classmethod
    def small(cls, **changes):
        return dataclasses.replace(cls(widths=(8,)), **changes)


@given(dim=st.integers(1, 999), margin=st.floats(-9, 9), widths=st.lists(st.integers(1, 99)))
def test_words_become_values_of_the_settings_type(dim, margin, widths):
    words = {"dim": str(dim), "margin": str(margin), "widths": ",".join(map(str, widths))}
    made = make_settings(Settings, words, small=False)
    assert (made.dim, made.margin, made.widths) == (dim, margin, tuple(widths))


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("False", False), ("off", False)])
def test_truths_have_several_words(word, value):
    assert make_settings(Settings, {"adversary": word}, small=False).adversary is value


def test_words_change_the_small_settings_where_these_are_asked_for():
    made = make_settings(Settings, {"trunk": "resnet18"}, small=True)
    assert (made.widths, made.trunk) == ((8,), "resnet18")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"depth": "3"}, "unknown setting; there are dim, margin"),
        ({"dim": "1.5"}, "--set dim=1.5: it is a whole number"),
        ({"margin": "wide"}, "--set margin=wide: it is a number"),
        ({"margin": "nan"}, "it is a finite number"),
        ({"adversary": "maybe"}, "it is one of true, yes, on, false, no, off"),
        ({"trunk": "vgg"}, "it is one of conv5, resnet18"),
        ({"widths": "8,x"}, "it is a whole number"),
        ({"classes": "3"}, "the data decides it"),
        ({"dim": "0"}, "dim must be 1 or more"),
    ],
)
def test_a_word_that_is_no_setting_is_refused_in_a_sentence(words, sentence):
    with pytest.raises(BadRequest, match=sentence):
        make_settings(Settings, words, small=False)


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_of_every_model_can_be_given_as_its_own_default(name):
    kind = MODELS[name].Settings
    default = kind()
    words = {
        field.name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for field in dataclasses.fields(kind)
        if field.name not in ("classes", "face_features", "voice_features")
        for value in (getattr(default, field.name),)
    }
    assert make_settings(kind, words, small=False) == default
