from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from avsearch.models.layers.batch import UNKNOWN
from avsearch.models.layers.blocks import SEResNeXtBlock
from avsearch.models.layers.trainable import Stage
from avsearch.models.papers.adsm import ADSM, FACE, VOICE, ADSMSettings
from tests.helpers import plain
from tests.helpers.tiny import lived_adsm, parameters_of, tiny_adsm, tiny_batch

START, SETTLED = Stage(), Stage(0.5, settled=True)
EXTRAS = {"identity_weight": 0.5, "attribute_weight": 1.5}


@pytest.fixture(scope="module")
def paper() -> ADSM:
    """The network of the paper, at its size."""
    return ADSM(ADSMSettings(dim=32)).eval()


def count(*parts: nn.Module) -> int:
    return sum(p.numel() for part in parts for p in part.parameters())


def embedded(network: ADSM, batch) -> tuple[Tensor, Tensor]:
    """Vectors of a batch that gradients reach, and nothing behind them."""
    with torch.no_grad():
        faces, voices = network.encode(batch)
    return faces.requires_grad_(), voices.requires_grad_()


# The network.


def test_parameters_are_as_many_as_table_5_says(paper):
    assert count(paper.face_net) == pytest.approx(7.02e6, rel=0.02)
    assert count(paper.voice_net) == pytest.approx(5.38e6, rel=0.02)
    assert count(paper.face_net, paper.voice_net) == pytest.approx(12.40e6, rel=0.02)
    assert count(paper) == pytest.approx(12.40e6, rel=0.02)  # with all that only trains it


def test_stages_are_those_of_table_1(paper):
    seen: list[tuple[int, ...]] = []
    watched = nn.Sequential | SEResNeXtBlock | nn.Conv2d | nn.AdaptiveAvgPool2d
    handles = [
        part.register_forward_hook(lambda part, given, out: seen.append(tuple(out.shape[1:])))
        for part in paper.face_net
        if isinstance(part, watched)
    ]
    with torch.inference_mode():
        paper.embed_face(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))
    for handle in handles:
        handle.remove()
    stages = [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8)]
    assert seen == [
        *(shape for stage in stages for shape in (stage, stage)),  # convolution, then block
        (32, 4, 4),
        (32, 1, 1),
    ]


def test_vectors_of_the_paper_have_32_values(paper):
    with torch.inference_mode():
        faces = paper.embed_face(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))
        voices = paper.embed_voice(torch.linspace(-1, 1, 160_000)[None])
    assert faces.shape == voices.shape == (1, 32)


def test_vectors_are_unit_vectors_of_dim_values():
    network, batch = lived_adsm(dim=24), tiny_batch(8, 6)
    with torch.inference_mode():
        faces, voices = network.encode(batch)
    assert faces.shape == (8, 24)
    assert voices.shape == (6, 24)
    for side in (faces, voices):
        torch.testing.assert_close(side.norm(dim=1), torch.ones(len(side)))


def test_sizes_of_inputs_may_differ_from_the_settings():
    network = lived_adsm()
    with torch.inference_mode():
        assert network.embed_face(torch.zeros(2, 3, 48, 48, dtype=torch.uint8)).shape == (2, 16)
        assert network.embed_voice(torch.randn(2, 12_345)).shape == (2, 16)


def test_the_default_has_128_values_and_no_term_that_the_paper_has_not():
    settings = ADSMSettings()
    assert settings.dim == 128
    assert (settings.identity_weight, settings.attribute_weight) == (0, 0)
    assert (settings.alpha, settings.margin, settings.eta, settings.turns) == (0.8, 0.6, 0.3, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.dim = 32


# The losses.


def test_the_critic_is_trained_to_tell_faces_from_voices():
    network, batch = lived_adsm(), tiny_batch()
    faces, voices = embedded(network, batch)
    logits = [network.classifier(side).tolist() for side in (faces, voices)]
    wanted = plain.cross_entropy(logits[0], [FACE] * 8) + plain.cross_entropy(
        logits[1], [VOICE] * 6
    )
    assert network.discriminator_loss((faces, voices)).item() == pytest.approx(wanted, rel=1e-5)


def test_the_critic_sends_no_gradient_to_the_nets():
    network, batch = tiny_adsm(**EXTRAS), tiny_batch()
    encoded = network.encode(batch)
    for side in encoded:
        side.retain_grad()
    network.discriminator_loss(encoded).backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    assert moved == {f"classifier.{name}" for name, _ in network.classifier.named_parameters()}
    assert all(side.grad is None for side in encoded)


def test_terms_are_those_of_eq_8():
    network, batch = lived_adsm(), tiny_batch()
    encoded = embedded(network, batch)
    terms = network.loss_terms(encoded, batch, START)
    assert terms.keys() == {"adversary", "triplet"}
    adversary = -0.3 * network.discriminator_loss(encoded).item()
    assert terms["adversary"].item() == pytest.approx(adversary, rel=1e-5)
    faces, voices = (side.tolist() for side in encoded)
    labels = batch.faces.labels.tolist(), batch.voices.labels.tolist()
    wanted = plain.triplet(voices, faces, *labels[::-1], alpha=0.8, margin=0.6) + plain.triplet(
        faces, voices, *labels, alpha=0.8, margin=0.6
    )
    assert terms["triplet"].item() == pytest.approx(wanted, rel=1e-4)


def test_the_generator_makes_the_critic_worse():
    network, batch = lived_adsm(), tiny_batch()
    faces, voices = embedded(network, batch)
    network.loss_terms((faces, voices), batch, START)["adversary"].backward()
    before = network.discriminator_loss((faces, voices))
    after = network.discriminator_loss((faces - 0.1 * faces.grad, voices - 0.1 * voices.grad))
    assert after > before


def test_terms_that_the_paper_has_not_by_plain_loops():
    network, batch = lived_adsm(**EXTRAS), tiny_batch()
    faces, voices = embedded(network, batch)
    terms = network.loss_terms((faces, voices), batch, START)
    assert terms.keys() == {"adversary", "triplet", "identity", "attribute"}
    identity = sum(
        plain.triplet(
            side.tolist(),
            side.tolist(),
            people.tolist(),
            people.tolist(),
            alpha=0.8,
            margin=0.6,
            same=True,
        )
        for side, people in ((faces, batch.faces.people), (voices, batch.voices.people))
    )
    assert terms["identity"].item() == pytest.approx(0.5 * identity, rel=1e-4)
    vectors = torch.tensor([plain.unit(row) for row in network.attribute.weight.tolist()])
    attribute = sum(
        plain.cross_entropy((8.0 * side @ vectors.T).tolist(), labels.tolist())
        for side, labels in ((faces, batch.faces.labels), (voices, batch.voices.labels))
    )
    assert terms["attribute"].item() == pytest.approx(1.5 * attribute, rel=1e-4)


def test_centres_take_the_place_of_the_triplets():
    network, batch = lived_adsm(), tiny_batch()
    encoded = embedded(network, batch)
    terms = network.loss_terms(encoded, batch, SETTLED)
    assert terms.keys() == {"adversary", "centres"}
    sides = [side.tolist() for side in encoded]
    labels = [batch.faces.labels.tolist(), batch.voices.labels.tolist()]
    own = {
        (modality, label): plain.mean(
            [
                row
                for row, its in zip(sides[modality], labels[modality], strict=True)
                if its == label
            ]
        )
        for modality in (0, 1)
        for label in (0, 1)
    }
    shared = {label: plain.mean([own[0, label], own[1, label]]) for label in (0, 1)}
    wanted = 0.0
    for modality in (0, 1):
        for row, label in zip(sides[modality], labels[modality], strict=True):
            both = plain.squared(row, own[modality, label]) + plain.squared(row, shared[label])
            wanted += both / 2 / len(sides[modality])
    assert terms["centres"].item() == pytest.approx(wanted, rel=1e-4)


def test_a_batch_of_one_class_costs_only_the_adversary():
    network, batch = lived_adsm(), tiny_batch(classes=1)
    encoded = embedded(network, batch)
    terms = network.loss_terms(encoded, batch, START)
    assert terms["triplet"].item() == 0
    sum(terms.values()).backward()
    assert all(side.grad.isfinite().all() for side in encoded)


# The players.


def optimizers(network: ADSM) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    both = network.optimizers()
    return both.generator, both.discriminator


@pytest.mark.parametrize("extras", [{}, EXTRAS, {"face_features": (7,)}])
def test_each_parameter_is_in_exactly_one_optimizer(extras):
    network = tiny_adsm(**extras)
    held = parameters_of(network.optimizers())
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in network.parameters() if p.requires_grad}


def test_optimizers_are_those_of_section_3_5():
    for optimizer in optimizers(tiny_adsm()):
        assert isinstance(optimizer, torch.optim.SGD)
        assert optimizer.defaults["lr"] == 1e-2
        assert optimizer.defaults["momentum"] == 0.9
        assert optimizer.defaults["weight_decay"] == 1e-3


@pytest.mark.parametrize("stage", [START, SETTLED])
@pytest.mark.parametrize("extras", [{}, EXTRAS])
def test_each_parameter_gets_a_gradient_in_the_turn_of_its_player(stage, extras):
    # Not fresh: fresh blocks end in weights of zero. Wide gates: two units may both be dead.
    network = lived_adsm(reduction=1, **extras).train()
    batch = tiny_batch()
    sum(network.loss_terms(network.encode(batch), batch, stage).values()).backward()
    discriminator = {id(p) for p in network.classifier.parameters()}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and id(parameter) not in discriminator:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
    network.zero_grad()
    network.discriminator_loss(network.encode(batch)).backward()
    for name, parameter in network.classifier.named_parameters():
        assert parameter.grad.any(), name


def test_the_shared_classifier_is_trained_only_where_its_term_counts():
    assert not tiny_adsm().attribute.weight.requires_grad
    assert tiny_adsm(attribute_weight=0.1).attribute.weight.requires_grad


def test_the_schedule_is_that_of_section_3_5():
    schedule = tiny_adsm(turns=7).schedule()
    assert (schedule.batch, schedule.discriminator_every, schedule.discriminator_alone) == (
        96,
        7,
        True,
    )
    rates = {epoch: 1e-2 * schedule.factor(epoch / 30) for epoch in (0, 6, 8.9, 9, 12, 15)}
    assert rates == pytest.approx({0: 0, 6: 1e-2, 8.9: 1e-2, 9: 1e-3, 12: 1e-4, 15: 1e-5})
    again = {past: 1e-2 * schedule.factor((20 + past) / 30, 20 / 30) for past in (0, 2.9, 3, 6)}
    assert again == pytest.approx({0: 1e-2, 2.9: 1e-2, 3: 1e-3, 6: 1e-4})


def test_without_centres_the_triplets_never_settle():
    assert tiny_adsm(centred=False).schedule().watched == ""
    assert tiny_adsm().schedule().watched == "triplet"


def test_without_an_adversary_no_step_is_the_classifiers():
    assert tiny_adsm(eta=0.0).schedule().discriminator_every == 0


# Batches that lack something.


def without_classes(batch, faces: Tensor, voices: Tensor):
    """The batch with the classes unknown where these masks say so."""
    return dataclasses.replace(
        batch,
        faces=dataclasses.replace(batch.faces, labels=batch.faces.labels.masked_fill(faces, -1)),
        voices=dataclasses.replace(
            batch.voices, labels=batch.voices.labels.masked_fill(voices, UNKNOWN)
        ),
    )


@pytest.mark.parametrize("stage", [START, SETTLED])
def test_items_of_no_known_class_cost_nothing_that_needs_classes(stage):
    batch = tiny_batch()
    one, other = lived_adsm(attribute_weight=1.0), lived_adsm(attribute_weight=1.0)
    faces, voices = embedded(one, batch)
    masks = torch.arange(8) >= 4, torch.arange(6) >= 4
    terms = one.loss_terms((faces, voices), without_classes(batch, *masks), stage)
    few = tiny_batch(4, 4)
    wanted = other.loss_terms((faces[:4], voices[:4]), few, stage)
    for name in terms.keys() - {"adversary"}:
        torch.testing.assert_close(terms[name], wanted[name])


@pytest.mark.parametrize("stage", [START, SETTLED])
def test_a_batch_of_no_known_class_costs_only_the_adversary(stage):
    network, batch = lived_adsm(attribute_weight=1.0), tiny_batch()
    encoded = embedded(network, batch)
    everyone = torch.ones(8, dtype=torch.bool), torch.ones(6, dtype=torch.bool)
    terms = network.loss_terms(encoded, without_classes(batch, *everyone), stage)
    assert {name for name, term in terms.items() if term.item() != 0} == {"adversary"}
    sum(terms.values()).backward()
    assert all(side.grad.isfinite().all() for side in encoded)


# Frozen features.


@pytest.mark.parametrize("shape", [(7,), (6, 3, 2)])
def test_frozen_features_become_unit_vectors_each_row_alone(shape):
    network = lived_adsm(face_features=shape, voice_features=shape)
    rows = torch.randn(5, *shape)
    for embed in (network.embed_face, network.embed_voice):
        with torch.inference_mode():
            vectors = embed(rows)
            torch.testing.assert_close(vectors[3:4], embed(rows[3:4]))
        assert vectors.shape == (5, 16)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))


def test_the_small_model_has_128_values_and_fewer_parameters():
    settings = ADSMSettings.small(classes=5)
    assert (settings.dim, settings.classes) == (128, 5)
    assert count(ADSM(settings)) < 1.5e6
