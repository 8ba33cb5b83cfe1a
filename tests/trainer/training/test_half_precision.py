"""Every model through the steps of the loop in each precision, on the CPU."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from avsearch.models import MODELS
from avsearch.models.layers.trainable import Schedule
from tests.helpers.tiny import tiny_batch, tiny_model
from tests.helpers.toys import Toy, toy_batch
from trainer.training.loop import TrainConfig, Trainer

HALVES = ["bfloat16", "float16"]
PLAIN = Schedule(epochs=1, batch=8)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", MODELS)
def test_a_half_precision_gives_terms_near_those_of_the_full(name, precision):
    batch = tiny_batch(8, 8)
    terms = {}
    for kind in ("float32", precision):
        torch.manual_seed(0)  # dropout, tuples and the noise of the variational encoders
        trainer = Trainer(tiny_model(name), TrainConfig(9, 9, precision=kind), schedule=PLAIN)
        terms[kind] = trainer.turn([batch]).terms
    assert terms[precision] == pytest.approx(terms["float32"], rel=0.1, abs=0.05)


@pytest.mark.parametrize("name", MODELS)
def test_float16_finds_a_scale_at_which_every_weight_moves(name):
    maps = (8, 4, 4)
    network = tiny_model(name, face_features=maps, voice_features=maps)
    trainer = Trainer(network, TrainConfig(30, 30, precision="float16"), schedule=PLAIN)
    before = {key: value.clone() for key, value in network.named_parameters()}
    batch = tiny_batch(8, 8, shapes=(maps, maps))
    for _ in range(12):
        assert all(map(math.isfinite, trainer.turn([batch]).terms.values()))
    learning = [(k, v) for k, v in network.named_parameters() if v.grad is not None]
    assert learning
    assert [k for k, v in learning if v.grad.any() and torch.equal(v, before[k])] == []
    assert trainer.sound(network.state_dict().values())


def test_in_float16_a_batch_that_teaches_nothing_is_passed_over():
    class Idle(Toy):
        def loss_terms(self, encoded, batch, stage):
            return {"nothing": torch.zeros(())}

    trainer = Trainer(
        Idle(Schedule(1, 1, discriminator_every=0)), TrainConfig(2, 9, precision="float16")
    )
    assert trainer.turn([toy_batch(1.0)]).terms == {"nothing": 0}
    assert trainer.model.generator.item() == 1


def test_the_scale_of_float16_is_part_of_the_state():
    def fresh() -> Trainer:
        model = Toy(Schedule(1, 1, discriminator_every=0))
        return Trainer(model, TrainConfig(9, 9, precision="float16", clip=1.0))

    first, second = fresh(), fresh()
    first.model.generator.register_hook(lambda grad: grad * math.inf)
    first.turn([toy_batch(1.0)])
    assert first.model.generator.item() == 1  # a step whose gradient overflowed is not taken
    second.restore(first.state())
    assert second.state().values["scaler"] == first.state().values["scaler"]
    assert second.state().values["scaler"]["scale"] < 65536


def test_frontends_compute_in_full_whatever_the_networks_do():
    loud = tiny_batch(2, 4)
    for name, part in (
        ("adsm", "cepstra"),
        ("dsanet", "spectrogram"),
        ("acienet", "voice_trunk.0"),
    ):
        frontend: nn.Module = tiny_model(name).get_submodule(part)
        waves = loud.voices.inputs / loud.voices.inputs.abs().amax(1, keepdim=True)
        whole = frontend(waves)
        for kind in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", kind):
                assert torch.equal(frontend(waves), whole)
