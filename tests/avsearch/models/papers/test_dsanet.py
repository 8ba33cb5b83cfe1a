from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint, save_checkpoint
from avsearch.models.layers.blocks import fuse_norms
from avsearch.models.layers.trainable import Stage
from avsearch.models.layers.tuples import draw_both_ways
from avsearch.models.papers.dsanet import (
    FACE,
    VOICE,
    DSANet,
    DSANetSettings,
    dual_enhancement,
    enhancement_mask,
)
from tests.helpers import plain
from tests.helpers.tiny import (
    overfit,
    paired_features,
    parameters_of,
    share_ranked_first,
    tiny_batch,
    vary_norms,
)

SMALL = {
    "dim": 16,
    "widths": (4, 4, 8, 8),
    "channels": 8,
    "map_size": 4,
    "face_size": 32,
    "voice_seconds": 0.5,
    "hidden": 12,
    "patch_rows": 2,
    "patch_columns": 4,
}
FROZEN = SMALL | {"face_features": (10,), "voice_features": (6, 3, 2)}
STAGE = Stage()
TASKS = ["matching", "retrieval"]
STREAMS = [(True, True), (True, False), (False, True), (False, False)]  # enhance, siamese
PAIRS = torch.ones(2, 16), torch.linspace(0, 1, 96).reshape(2, 3, 16)  # anchors, candidates
CLOSE = {"atol": 1e-5, "rtol": 0}


def tiny(seed: int = 0, **changes: Any) -> DSANet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DSANet(DSANetSettings(**(SMALL | changes)))


def lived(seed: int = 0, **changes: Any) -> DSANet:
    """An evaluated network whose every weight and statistic is other than a fresh one's."""
    return copy.deepcopy(_lived(seed, **changes))


@functools.cache
def _lived(seed: int, **changes: Any) -> DSANet:
    network = tiny(seed, **changes)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed + 1)
        vary_norms(network)
        network.generator[0].gamma.fill_(0.6)
        for step in range(3):
            network.encode(tiny_batch(seed=step, voices=8))
    return network.eval()


def count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


# Dual enhancement.


@settings(max_examples=40)
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_masks_are_the_peak_and_the_salient_values_of_one_patch(sizes, rows, columns, seed):
    maps = torch.randn(sizes, generator=torch.Generator().manual_seed(seed))
    for one, mask in zip(maps.tolist(), enhancement_mask(maps, rows, columns), strict=True):
        values = [value for row in one for value in row]
        chosen = [(i, j) for i, j in mask.nonzero().tolist() if one[i][j] != max(values)]
        assert all(mask[i, j] for i, row in enumerate(one) for j, v in enumerate(row)
                   if v == max(values))  # fmt: skip
        patches = {(i // rows, j // columns) for i, j in chosen}
        assert len(patches) <= 1
        mean = sum(values) / len(values)
        for i, j in chosen:
            assert one[i][j] > mean - 1e-6


def test_a_patch_holds_all_its_salient_values_and_every_patch_is_drawn():
    torch.manual_seed(0)
    maps = torch.zeros(400, 8, 12)
    maps[:, :, :] = 1.0
    maps[:, 0, 0] = -100.0  # so that all others are salient
    maps[:, 7, 11] = 2.0  # the peak
    masks = enhancement_mask(maps, 4, 3)
    masks[:, 7, 11] = False
    seen = {tuple(map(tuple, mask.nonzero().tolist())) for mask in masks}
    patches = {
        tuple(
            (i, j)
            for i in range(4 * row, 4 * row + 4)
            for j in range(3 * column, 3 * column + 3)
            if (i, j) not in ((0, 0), (7, 11))
        )
        for row in range(2)
        for column in range(4)
    }
    assert seen == patches


def test_enhancement_raises_by_alpha_and_lowers_by_beta():
    values = DSANetSettings(patch_rows=2, patch_columns=2, alpha=0.5, beta=0.25)
    maps = torch.rand(3, 4, 2, 2) + 1
    salient, subtle = dual_enhancement(maps, values)
    chosen = salient != maps
    assert chosen.any()
    torch.testing.assert_close(salient, torch.where(chosen, 1.5 * maps, maps))
    torch.testing.assert_close(subtle, torch.where(chosen, 0.75 * maps, maps))


def test_enhancement_of_an_empty_map_is_that_map():
    maps = torch.zeros(2, 4, 3, 3)
    for copied in dual_enhancement(maps, DSANetSettings()):
        assert torch.equal(copied, maps)


# The network.


def test_maps_of_the_paper_have_4608_values_and_the_generator_its_sizes():
    network = DSANet(DSANetSettings())
    linear = [part for part in network.generator if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(4608, 256), (256, 128)]
    attention = 2 * (32 * 4 + 4) + (32 * 32 + 32) + 1
    norms = 2 * 256 + 2 * 128
    assert count(network.generator) == attention + 4609 * 256 + 257 * 128 + norms
    with torch.inference_mode():
        maps = network.eval()._face_map(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
        assert maps.shape == (1, 32, 12, 12)
        assert network._voice_map(torch.randn(1, 40_000)).shape == (1, 32, 12, 12)


def test_resnet18_gives_maps_of_the_same_size():
    network = DSANet(DSANetSettings(trunk="resnet18")).eval()
    published, head = 11_689_512, 513 * 1000  # parameters of ResNet-18 and of its classifier
    last = 512 * 32 + 2 * 32
    assert count(network.face_trunk) == published - head + last
    assert count(network.voice_trunk) == published - head + last - 2 * 49 * 64  # one channel
    with torch.inference_mode():
        faces = network._face_map(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
        assert faces.shape == (1, 32, 12, 12)
        assert network._voice_map(torch.randn(1, 40_000)).shape == (1, 32, 12, 12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trunk": "vgg"}, "no trunk 'vgg'"),
        ({"task": "verification"}, "no task 'verification'"),
        ({"candidates": 1}, "at least 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        DSANetSettings(**changes)


def test_settings_are_those_of_section_iv():
    values = DSANetSettings()
    assert (values.dim, values.face_size, values.voice_seconds) == (128, 224, 2.5)
    assert (values.alpha, values.beta, values.eta) == (1, 0.9, 0.1)
    assert (values.patch_rows, values.patch_columns) == (4, 4)
    assert (values.metric_weight, values.matching_weight) == (2, 3)
    assert (values.retrieval_metric_weight, values.retrieval_class_weight) == (0.1, 0.2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        values.dim = 32


@pytest.mark.parametrize(("enhance", "siamese"), STREAMS)
def test_vectors_are_unit_vectors_and_do_not_depend_on_neighbours(enhance, siamese):
    network, batch = lived(enhance=enhance, siamese=siamese), tiny_batch(8, 6)
    order = torch.tensor([3, 0, 5])
    for embed, inputs in (
        (network.embed_face, batch.faces.inputs),
        (network.embed_voice, batch.voices.inputs),
    ):
        with torch.inference_mode():
            vectors = embed(inputs)
            alone = torch.cat([embed(each[None]) for each in inputs])
            chosen = embed(inputs[order])
        assert vectors.shape == (len(inputs), 16)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(inputs)))
        torch.testing.assert_close(alone, vectors, **CLOSE)
        torch.testing.assert_close(chosen, vectors[order], **CLOSE)
        assert torch.cdist(vectors, vectors).fill_diagonal_(9).min() > 1e-3


@pytest.mark.parametrize(("enhance", "siamese"), STREAMS)
def test_nothing_is_random_outside_training(enhance, siamese):
    network, batch = lived(enhance=enhance, siamese=siamese), tiny_batch()
    before = torch.get_rng_state()
    with torch.inference_mode():
        faces, voices = network.encode(batch)
        wanted = network.embed_face(batch.faces.inputs), network.embed_voice(batch.voices.inputs)
    assert torch.equal(torch.get_rng_state(), before)
    for stream in faces:
        torch.testing.assert_close(stream, wanted[0], **CLOSE)
    for stream in voices:
        torch.testing.assert_close(stream, wanted[1], **CLOSE)


@pytest.mark.parametrize(("enhance", "siamese"), STREAMS)
def test_streams_differ_in_training_where_there_are_two(enhance, siamese):
    network, batch = lived(enhance=enhance, siamese=siamese, dropout=0.3).train(), tiny_batch()
    faces, voices = network.encode(batch)
    assert len(faces) == len(voices) == (2 if siamese else 1)
    if siamese:
        assert (faces[0] - faces[1]).abs().max() > 1e-3


def test_without_dropout_and_enhancement_the_streams_agree():
    network = lived(enhance=False, dropout=0.0).train()
    faces, _ = network.encode(tiny_batch())
    torch.testing.assert_close(*faces)


def test_folding_the_norms_for_an_index_changes_no_vector():
    network, batch = lived(), tiny_batch()
    folded = copy.deepcopy(network)
    fuse_norms(folded)
    with torch.inference_mode():
        for wanted, found in zip(network.encode(batch), folded.encode(batch), strict=True):
            torch.testing.assert_close(found, wanted, **CLOSE)


def test_frozen_features_take_the_place_of_trunk_and_front_end():
    network = tiny(**FROZEN).eval()
    with torch.inference_mode():
        assert network.embed_face(torch.randn(3, 10)).shape == (3, 16)
        assert network.embed_voice(torch.randn(5, 6, 3, 2)).shape == (5, 16)


def test_small_settings_take_changes():
    values = DSANetSettings.small(task="matching", map_size=5)
    assert (values.map_size, values.task, values.dim) == (5, "matching", 128)
    assert count(DSANet(values)) < 1e6


@pytest.mark.parametrize(("enhance", "siamese"), STREAMS)
@pytest.mark.parametrize("task", TASKS)
def test_what_is_loaded_gives_equal_vectors(tmp_path, task, enhance, siamese):
    network = lived(task=task, enhance=enhance, siamese=siamese)
    path = tmp_path / "dsanet.safetensors"
    save_checkpoint(path, "dsanet", network, {}, half=False)
    checkpoint = load_checkpoint(path, MODELS)
    loaded, batch = checkpoint.network, tiny_batch()
    assert checkpoint.space.dim == 16
    assert loaded.settings == network.settings
    with torch.inference_mode():
        for wanted, found in (
            (network.embed_face(batch.faces.inputs), loaded.embed_face(batch.faces.inputs)),
            (network.embed_voice(batch.voices.inputs), loaded.embed_voice(batch.voices.inputs)),
            (network.match(*PAIRS), loaded.match(*PAIRS)),
        ):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("k", [2, 7])
def test_the_answers_of_the_heads_move_with_the_candidates(task, k):
    network = lived(task=task)
    anchors, candidates, order = torch.randn(3, 16), torch.randn(3, k, 16), torch.randperm(k)
    logits = network.match(anchors, candidates)
    assert logits.shape == (3, k)
    torch.testing.assert_close(network.match(anchors, candidates[:, order]), logits[:, order])


# The losses.


def encoded_in_training(network: DSANet, batch) -> tuple[list[Tensor], list[Tensor]]:
    """Streams that differ, that gradients reach, and nothing behind them."""
    with torch.no_grad():
        faces, voices = network.train().encode(batch)
    return [h.requires_grad_() for h in faces], [h.requires_grad_() for h in voices]


def drawn_with(network: DSANet, encoded, batch) -> tuple[dict[str, Tensor], list[Any]]:
    """The terms, and by the same draw each stream's tuples."""
    torch.manual_seed(3)
    terms = network.loss_terms(encoded, batch, STAGE)
    torch.manual_seed(3)
    k = network.settings.candidates
    tuples = draw_both_ways(batch.faces.labels, batch.voices.labels, k)
    return terms, [tuples.of(*sides) for sides in zip(*encoded, strict=True)]


def test_the_critic_tells_faces_from_voices_in_both_streams():
    network, batch = lived(), tiny_batch()
    encoded = encoded_in_training(network, batch)
    network.eval()
    wanted = 0.0
    for side, modality in zip(encoded, (FACE, VOICE), strict=True):
        for stream in side:
            logits = network.discriminator(stream).tolist()
            wanted += plain.cross_entropy(logits, [modality] * len(stream))
    assert network.discriminator_loss(encoded).item() == pytest.approx(wanted, rel=1e-4)
    terms = network.loss_terms(encoded, batch, STAGE)
    assert terms["adversary"].item() == pytest.approx(-0.1 * wanted, rel=1e-4)


def test_the_critic_sends_no_gradient_to_the_generator():
    network, batch = lived().train(), tiny_batch()
    network.discriminator_loss(network.encode(batch)).backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    wanted = {f"discriminator.{name}" for name, _ in network.discriminator.named_parameters()}
    assert moved == wanted


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("siamese", [True, False])
def test_terms_of_matching_are_those_of_eq_24(masked, siamese):
    network = lived(task="matching", masked=masked, siamese=siamese, candidates=3)
    batch = tiny_batch(classes=4)
    terms, drawn = drawn_with(network, encoded_in_training(network, batch), batch)
    assert terms.keys() == {"metric", "matching", "adversary"}
    metric = matching = 0.0
    for anchors, candidates in drawn:
        metric += plain.structural_metric(anchors.tolist(), candidates.tolist(), 1.0)
        logits = network.match(anchors, candidates).tolist()
        if masked:
            matching += plain.masked_cross_entropy(logits, 0.1)
        else:
            matching += plain.cross_entropy(logits, [0] * len(logits))
    assert terms["metric"].item() == pytest.approx(2 * metric, rel=1e-4)
    assert terms["matching"].item() == pytest.approx(3 * matching, rel=1e-4)


def test_terms_of_retrieval_are_those_of_eq_25():
    network, batch = lived(classes=4, candidates=3), tiny_batch(classes=4)
    encoded = encoded_in_training(network, batch)
    terms, drawn = drawn_with(network, encoded, batch)
    assert terms.keys() == {"metric", "matching", "centres", "adversary"}
    metric = matching = centres = 0.0
    for anchors, candidates in drawn:
        metric += plain.structural_metric(anchors.tolist(), candidates.tolist(), 1.0)
        p = network.match(anchors, candidates).sigmoid()
        matching -= (p[:, 0].log().sum() + (1 - p[:, 1:]).log().sum()).item() / len(anchors)
    labels = torch.cat([batch.faces.labels, batch.voices.labels])
    for loss, faces, voices in zip(network.centres, *encoded, strict=True):
        rows = torch.cat([faces, voices])
        centres += (rows - loss.centres[labels]).norm(dim=1).mean().item()
    assert terms["metric"].item() == pytest.approx(0.1 * metric, rel=1e-4)
    assert terms["matching"].item() == pytest.approx(0.2 * matching, rel=1e-4)
    assert terms["centres"].item() == pytest.approx(0.1 * centres, rel=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_without_pairs_the_terms_of_pairs_are_nought(task):
    network, batch = lived(task=task, classes=200).train(), tiny_batch()
    apart = dataclasses.replace(batch.voices, labels=batch.voices.people)
    batch = dataclasses.replace(batch, voices=apart)
    terms = network.loss_terms(network.encode(batch), batch, STAGE)
    assert terms["metric"].item() == terms["matching"].item() == 0
    sum(terms.values()).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_without_the_adversary_only_its_term_is_missing():
    network, batch = lived(adversary=False).train(), tiny_batch()
    encoded = network.encode(batch)
    assert network.loss_terms(encoded, batch, STAGE).keys() == {"metric", "matching", "centres"}
    assert network.discriminator_loss(encoded).item() > 0


# The players.


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("enhance", "siamese"), STREAMS)
def test_each_parameter_gets_a_gradient_and_is_in_exactly_one_optimizer(task, enhance, siamese):
    network = lived(dropout=0.0, task=task, enhance=enhance, siamese=siamese).train()
    batch = tiny_batch()
    everyone = parameters_of(network.optimizers())
    assert len(everyone) == len(set(everyone))
    assert set(everyone) == {id(p) for p in network.parameters() if p.requires_grad}
    encoded = network.encode(batch)
    network.discriminator_loss(encoded).backward()
    for p in network.discriminator.parameters():
        assert p.grad.any()
        p.grad = None
    sum(network.loss_terms(encoded, batch, STAGE).values()).backward()
    # A bias ahead of a normalisation, or one that all candidates share, moves nothing.
    idle = {"generator.3.bias", "generator.7.bias", "generator.0.key.bias"}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert name in idle or parameter.grad.any(), name


def test_rates_and_schedule_are_those_of_section_iv():
    network = tiny()
    optimizers = network.optimizers()
    rates = [group["lr"] for group in optimizers.generator.param_groups]
    assert rates == [5e-3, 5e-2]
    assert optimizers.discriminator.param_groups[0]["lr"] == 5e-3
    for optimizer in (optimizers.generator, optimizers.discriminator):
        assert isinstance(optimizer, torch.optim.Adam)
        for group in optimizer.param_groups:
            assert group["betas"][0] == 0.9
            assert group["weight_decay"] == 5e-4
    assert network.schedule().batch == 128
    assert tiny(task="matching").schedule().batch == 50
    assert network.schedule().discriminator_every == 1
    assert tiny(adversary=False).schedule().discriminator_every == 0
    factors = [network.schedule().factor(done) for done in (0, 0.49, 0.51, 0.9)]
    assert factors == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("task", TASKS)
def test_a_few_steps_on_a_few_pairs_rank_each_pair_first(task):
    torch.manual_seed(0)
    batch = paired_features(people=8, each=4, faces=(10,), voices=(6, 3, 2))
    network = tiny(**FROZEN, task=task, classes=8, candidates=4)
    totals = overfit(network, batch, steps=60)
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])
    assert share_ranked_first(network, batch) > 0.9
