from __future__ import annotations

import copy
import dataclasses
import functools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint, save_checkpoint
from avsearch.models.layers.batch import UNKNOWN, Batch
from avsearch.models.layers.blocks import fuse_norms
from avsearch.models.layers.losses import lifted_structure
from avsearch.models.layers.private_attributes import (
    AttributeTokens,
    CrossAttention,
    CrossTransformer,
)
from avsearch.models.layers.trainable import Stage
from avsearch.models.layers.tuples import draw_both_ways
from avsearch.models.papers.p2vanet import (
    FACE,
    VOICE,
    P2VANet,
    P2VANetSettings,
    VariationalAutoEncoder,
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
    "widths": (4, 4, 8, 8, 8),
    "map_size": 4,
    "face_size": 32,
    "voice_seconds": 0.5,
    "voice_attributes": 6,
    "voice_tokens": 2,
    "nationalities": 4,
}
FROZEN = SMALL | {"face_features": (10,), "voice_features": (6, 3, 2)}
ABLATIONS = [
    {},
    {"face_vae": False},
    {"voice_vae": False},
    {"face_vae": False, "voice_vae": False},
    {"private": False},
    {"gender": False},
    {"nationality": False},
    {"gender": False, "nationality": False, "private": False},
]
STAGE = Stage()
PAIRS = torch.ones(2, 16), torch.linspace(0, 1, 96).reshape(2, 3, 16)  # anchors, candidates
CLOSE = {"atol": 1e-5, "rtol": 0}


def tiny(seed: int = 0, **changes: Any) -> P2VANet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return P2VANet(P2VANetSettings(**(SMALL | changes)))


def with_private(batch: Batch, seed: int = 0) -> Batch:
    """The same items with private attributes, of which some are not known."""
    generator = torch.Generator().manual_seed(seed)

    def private(items: int, values: int) -> Tensor:
        drawn = 50 * torch.randn(items, values, generator=generator) + 1000
        drawn[1, 0] = drawn[2] = math.nan
        return drawn

    return Batch(
        dataclasses.replace(batch.faces, private=private(len(batch.faces), 12)),
        dataclasses.replace(batch.voices, private=private(len(batch.voices), 6)),
    )


def lived(**changes: Any) -> P2VANet:
    """An evaluated network whose every weight and statistic is other than a fresh one's."""
    return copy.deepcopy(_lived(**changes))


@functools.cache
def _lived(**changes: Any) -> P2VANet:
    network = tiny(**changes)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        vary_norms(network)
        for step in range(3):
            network.encode(with_private(tiny_batch(seed=step, voices=8), step))
    return network.eval()


def count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


# Variational learning.


def test_z_is_the_mean_outside_training_and_drawn_around_it_in_training():
    vae, features = VariationalAutoEncoder(5), torch.randn(1, 5)
    mean, log_variance = vae.encoder(features).detach().chunk(2, 1)
    before = torch.get_rng_state()
    torch.testing.assert_close(vae.eval()(features)[0], mean)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(0)
    drawn = vae.train()(features.expand(4000, 5))[0].detach()
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.var(0), log_variance[0].exp(), atol=0.15, rtol=0.1)


def test_reconstruction_is_that_of_eq_2():
    vae, features = VariationalAutoEncoder(3).eval(), torch.randn(4, 3)
    z, loss = vae(features)
    mean, log_variance = vae.encoder(features).chunk(2, 1)
    given_back, wanted = vae.decoder(z), 0.0
    for row in range(4):
        for value in range(3):
            m, v = mean[row, value].item(), math.exp(log_variance[row, value].item())
            missed = given_back[row, value].item() - features[row, value].item()
            wanted += (missed**2 + (v + m * m - 1 - math.log(v)) / 2) / 12
    assert loss.item() == pytest.approx(wanted, rel=1e-4)


def test_what_is_reconstructed_stands_still():
    vae, features = VariationalAutoEncoder(3).eval(), torch.randn(4, 3, requires_grad=True)
    nn.init.zeros_(vae.encoder[0].weight)  # so that nothing comes through the encoder
    vae(features)[1].backward()
    assert not features.grad.any()


# Private attributes.


def test_values_are_standardised_by_all_that_were_seen():
    torch.manual_seed(0)
    tokens, batches = AttributeTokens(6, 2, 4), [100 * torch.randn(n, 6) + 7 for n in (5, 1, 9)]
    for batch in batches:
        batch[0, 2] = math.nan
        tokens(batch, len(batch))
    seen = torch.cat(batches)
    for value in range(6):
        known = seen[:, value][seen[:, value].isfinite()]
        assert tokens.mean[value].item() == pytest.approx(known.mean().item(), rel=1e-4)
        wanted = known.var(correction=0).item()
        assert tokens.variance[value].item() == pytest.approx(wanted, rel=1e-3)


def test_a_token_is_a_projection_of_its_values_alone_and_a_learned_one_where_one_is_unknown():
    tokens = AttributeTokens(6, 2, 4).eval()
    given = torch.randn(2, 6)
    given[1, 4] = math.nan
    found = tokens(given, 2)
    scale = (1 + 1e-5) ** 0.5
    for row, token in ((0, 0), (0, 1), (1, 0)):
        values = given[row, 3 * token : 3 * token + 3] / scale
        wanted = values @ tokens.weight[token] + tokens.bias[token]
        torch.testing.assert_close(found[row, token], wanted)
    torch.testing.assert_close(found[1, 1], tokens.unknown[1])


def test_without_attributes_all_tokens_are_the_learned_ones():
    tokens = AttributeTokens(6, 2, 4)
    torch.testing.assert_close(tokens(None, 3), tokens(torch.full((3, 6), math.nan), 3))
    assert tokens.count.sum() == 0


@torch.no_grad()
def test_cross_attention_is_that_of_plain_loops():
    attention, z, tokens = CrossAttention(6, 2), torch.randn(2, 6), torch.randn(2, 5, 6)
    query = attention.query(z)
    key, value = attention.key_value(tokens).chunk(2, 2)
    found = attention(z, tokens)
    for row in range(2):
        attended = []
        for head in (slice(0, 3), slice(3, 6)):
            weights = [
                math.exp(float(query[row, head] @ key[row, token, head]) / math.sqrt(3))
                for token in range(5)
            ]
            parts = [w * value[row, token, head] for token, w in enumerate(weights)]
            attended.append(sum(parts) / sum(weights))
        wanted = attention.project(torch.cat(attended) + z[row])
        torch.testing.assert_close(found[row], wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_cross_transformer_is_that_of_eq_6_to_12():
    part, z, tokens = CrossTransformer(6, 2).eval(), torch.randn(3, 6), torch.randn(3, 5, 6)
    first = part.attention(part.z_norm(z), part.token_norm(tokens))
    second = part.attention(first, tokens) + z
    wanted = part.project(part.feed_forward(part.layer_norm(second)) + second)
    torch.testing.assert_close(part(z, tokens), wanted)


def test_private_attributes_move_a_vector_and_unknown_ones_are_as_none():
    network, batch = lived(), with_private(tiny_batch())
    inputs, private = batch.faces.inputs, batch.faces.private
    with torch.inference_mode():
        with_them, without = network.embed_face(inputs, private), network.embed_face(inputs)
    moved = (with_them - without).abs().amax(1)
    assert moved[2] < 1e-5  # none of its attributes is known
    assert (moved[[0, 1, 3]] > 1e-4).all()


def test_a_share_of_the_items_lose_their_attributes_in_training_alone():
    branch, private = tiny(hidden_share=0.3).face, torch.zeros(2000, 12)
    torch.manual_seed(0)
    hidden = branch.train()._hide(private).isnan()
    assert torch.equal(hidden.all(1), hidden.any(1))
    assert hidden[:, 0].float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert not branch.eval()._hide(private).isnan().any()


# The network.


def test_sizes_are_those_of_section_iv():
    values = P2VANetSettings()
    network = P2VANet(values).eval()
    assert (values.dim, values.face_size, values.voice_seconds) == (128, 224, 2.5)
    weights = [values.reconstruction_weight, values.matching_weight, values.gender_weight]
    assert [*weights, values.nationality_weight] == [1.5, 2, 1, 1.5]
    assert network.face.tokens.shape == (12, 1)
    assert network.voice.tokens.shape == (32, 12)
    assert count(network.face.vae) == (128 + 256 + 128 + 128) * 129
    attention = 4 * 128 * 129
    assert count(network.face.transformer.attention) == attention
    with torch.inference_mode():
        faces = network.embed_face(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
        voices = network.embed_voice(torch.randn(1, 40_000), torch.randn(1, 384))
    assert faces.shape == voices.shape == (1, 128)
    with pytest.raises(dataclasses.FrozenInstanceError):
        values.dim = 32


@pytest.mark.parametrize("changes", ABLATIONS)
def test_vectors_are_unit_vectors_and_do_not_depend_on_neighbours(changes):
    network, batch = lived(**changes), with_private(tiny_batch(8, 6))
    order = torch.tensor([3, 0, 5])
    for embed, side in ((network.embed_face, batch.faces), (network.embed_voice, batch.voices)):
        inputs, private = side.inputs, side.private
        with torch.inference_mode():
            vectors = embed(inputs, private)
            alone = [embed(a[None], b[None]) for a, b in zip(inputs, private, strict=True)]
            chosen = embed(inputs[order], private[order])
        assert vectors.shape == (len(inputs), 16)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(inputs)))
        torch.testing.assert_close(torch.cat(alone), vectors, **CLOSE)
        torch.testing.assert_close(chosen, vectors[order], **CLOSE)
        assert torch.cdist(vectors, vectors).fill_diagonal_(9).min() > 1e-3


def test_nothing_is_random_outside_training():
    network, batch = lived(), with_private(tiny_batch())
    before = torch.get_rng_state()
    with torch.inference_mode():
        encoded = network.encode(batch)
        faces = network.embed_face(batch.faces.inputs, batch.faces.private)
        voices = network.embed_voice(batch.voices.inputs, batch.voices.private)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(encoded.faces, faces)
    torch.testing.assert_close(encoded.voices, voices)


def test_folding_the_norms_for_an_index_changes_no_vector():
    network, batch = lived(), with_private(tiny_batch())
    folded = copy.deepcopy(network)
    fuse_norms(folded)
    with torch.inference_mode():
        wanted, found = network.encode(batch), folded.encode(batch)
    torch.testing.assert_close(found.faces, wanted.faces, **CLOSE)
    torch.testing.assert_close(found.voices, wanted.voices, **CLOSE)


def test_frozen_features_take_the_place_of_trunk_and_front_end():
    network = tiny(**FROZEN).eval()
    with torch.inference_mode():
        assert network.embed_face(torch.randn(3, 10)).shape == (3, 16)
        assert network.embed_voice(torch.randn(5, 6, 3, 2)).shape == (5, 16)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"candidates": 1}, "at least 2"),
        ({"heads": 3}, "3 heads"),
        ({"voice_attributes": 100}, "100 attributes cannot be cut into 32 tokens"),
        ({"face_tokens": 5}, "12 attributes cannot be cut into 5 tokens"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        P2VANetSettings(**changes)


def test_small_settings_take_changes():
    values = P2VANetSettings.small(private=False, map_size=5)
    assert (values.map_size, values.private, values.dim) == (5, False, 128)
    assert count(P2VANet(values)) < 1e6


@pytest.mark.parametrize("changes", ABLATIONS)
def test_what_is_loaded_gives_equal_vectors(tmp_path, changes):
    network, batch = lived(**changes), with_private(tiny_batch())
    path = tmp_path / "p2vanet.safetensors"
    save_checkpoint(path, "p2vanet", network, {}, half=False)
    checkpoint = load_checkpoint(path, MODELS)
    loaded = checkpoint.network
    assert checkpoint.space.dim == 16
    assert loaded.settings == network.settings
    with torch.inference_mode():
        ours, theirs = network.encode(batch), loaded.encode(batch)
        torch.testing.assert_close(theirs.faces, ours.faces, rtol=0, atol=0)
        torch.testing.assert_close(theirs.voices, ours.voices, rtol=0, atol=0)
        found, wanted = loaded.match(*PAIRS), network.match(*PAIRS)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


# The losses.


def test_the_critic_tells_faces_from_voices_and_sends_no_gradient_to_the_branches():
    network, batch = lived(), tiny_batch()
    encoded = network.encode(batch)
    loss = network.discriminator_loss(encoded)
    wanted = 0.0
    for side, modality in ((encoded.faces, FACE), (encoded.voices, VOICE)):
        logits = network.discriminator(side).tolist()
        wanted += plain.cross_entropy(logits, [modality] * len(side))
    assert loss.item() == pytest.approx(wanted, rel=1e-4)
    loss.backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    names = {f"discriminator.{name}" for name, _ in network.discriminator.named_parameters()}
    assert moved == names


def known_cost(logits: Tensor, labels: Tensor) -> float:
    rows = [row for row, label in zip(logits.tolist(), labels, strict=True) if label != UNKNOWN]
    return plain.cross_entropy(rows, [label for label in labels.tolist() if label != UNKNOWN])


def test_terms_are_those_of_eq_18():
    network, batch = lived(candidates=3), with_private(tiny_batch(classes=4))
    encoded = network.encode(batch)
    torch.manual_seed(3)
    terms = network.loss_terms(encoded, batch, STAGE)
    torch.manual_seed(3)
    tuples = draw_both_ways(batch.faces.labels, batch.voices.labels, 3)
    anchors, candidates = tuples.of(encoded.faces, encoded.voices)
    logits = network.match(anchors, candidates).tolist()
    sides = (encoded.faces, batch.faces), (encoded.voices, batch.voices)
    wanted = {
        "metric": plain.lifted_structure((6 * anchors).tolist(), (6 * candidates).tolist(), 1.0),
        "matching": 2 * plain.cross_entropy(logits, [0] * len(logits)),
        "reconstruction": 1.5 * encoded.reconstruction.item(),
        "adversary": -0.3 * network.discriminator_loss(encoded).item(),
        "gender": sum(known_cost(network.gender(h), side.genders) for h, side in sides),
        "nationality": 1.5
        * sum(known_cost(network.nationality(h), side.nationalities) for h, side in sides),
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(wanted, rel=1e-4)


def test_reconstruction_is_the_sum_of_both_sides():
    batch = tiny_batch()
    both, face, voice = (lived(**changes).encode(batch) for changes in ABLATIONS[:3])
    neither = lived(**ABLATIONS[3]).encode(batch)
    assert neither.reconstruction.item() == 0
    assert both.reconstruction > max(face.reconstruction, voice.reconstruction) > 0


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"face_vae": False, "voice_vae": False}, "reconstruction"),
        ({"gender": False}, "gender"),
        ({"nationality": False}, "nationality"),
        ({"adversary": False}, "adversary"),
    ],
)
def test_what_is_turned_off_has_no_term(changes, missing):
    network, batch = lived(**changes), tiny_batch()
    terms = network.loss_terms(network.encode(batch), batch, STAGE)
    every = {"metric", "matching", "reconstruction", "adversary", "gender", "nationality"}
    assert terms.keys() == every - {missing}


def test_without_pairs_and_attributes_those_terms_are_nought():
    network, batch = lived().train(), tiny_batch()
    nobody = torch.full((8,), UNKNOWN)
    faces = dataclasses.replace(batch.faces, genders=nobody, nationalities=nobody)
    voices = dataclasses.replace(
        batch.voices, labels=batch.voices.people, genders=nobody[:6], nationalities=nobody[:6]
    )
    batch = Batch(faces, voices)
    terms = network.loss_terms(network.encode(batch), batch, STAGE)
    for name in ("metric", "matching", "gender", "nationality"):
        assert terms[name].item() == 0
    sum(terms.values()).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_further_nationalities_are_the_last_one():
    network, batch = lived(), tiny_batch()
    encoded = network.encode(batch)
    terms = []
    for further in (3, 100):
        sides = (
            dataclasses.replace(
                side, nationalities=torch.where(side.nationalities == 2, further, 0)
            )
            for side in (batch.faces, batch.voices)
        )
        terms.append(network.loss_terms(encoded, Batch(*sides), STAGE)["nationality"].item())
    assert terms[0] == terms[1]


# The players.


@pytest.mark.parametrize("changes", ABLATIONS)
def test_each_parameter_gets_a_gradient_and_is_in_exactly_one_optimizer(changes):
    network, batch = lived(**changes).train(), with_private(tiny_batch())
    everyone = parameters_of(network.optimizers())
    assert len(everyone) == len(set(everyone))
    assert set(everyone) == {id(p) for p in network.parameters() if p.requires_grad}
    encoded = network.encode(batch)
    network.discriminator_loss(encoded).backward()
    for p in network.discriminator.parameters():
        assert p.grad.any()
        p.grad = None
    sum(network.loss_terms(encoded, batch, STAGE).values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # A bias ahead of a normalisation, or one that all candidates share, moves nothing.
        idle = ("extractor.2.bias", "generator.0.bias", "generator.3.bias", "head.score.bias")
        assert name.endswith(idle) or parameter.grad.any(), name


def test_rates_and_schedule_are_those_of_section_iv():
    network = tiny()
    optimizers = network.optimizers()
    assert [g["lr"] for g in optimizers.generator.param_groups] == [1e-2, 5e-3, 5e-3, 5e-2]
    assert [g["lr"] for g in optimizers.discriminator.param_groups] == [5e-3]
    for optimizer in (optimizers.generator, optimizers.discriminator):
        assert isinstance(optimizer, torch.optim.Adam)
        for group in optimizer.param_groups:
            assert group["betas"][0] == 0.9
            assert group["weight_decay"] == 5e-4
    assert network.schedule().batch == 64
    assert network.schedule().discriminator_every == 1
    assert tiny(adversary=False).schedule().discriminator_every == 0


def test_a_few_steps_on_a_few_pairs_rank_each_pair_first():
    torch.manual_seed(0)
    batch = paired_features(people=8, each=4, faces=(10,), voices=(6, 3, 2))
    network = tiny(**FROZEN, candidates=4)
    totals = overfit(network, batch, steps=120)
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])
    assert share_ranked_first(network, batch) > 0.9


def test_the_metric_parts_people_who_share_gender_and_nationality():
    """Noisy items of 8 people in each of 8 groups: it is better to spread them than to merge."""
    torch.manual_seed(0)
    groups = functional.normalize(torch.randn(8, 32)).repeat_interleave(8, 0)
    people = 0.3 * functional.normalize(torch.randn(64, 32))
    noise = 0.2 * functional.normalize(torch.randn(2, 64, 32), dim=2)
    labels = torch.arange(64)
    spread = torch.ones((), requires_grad=True)
    faces, voices = functional.normalize(groups + spread * (people + noise), dim=2)
    tuples = draw_both_ways(labels, labels, 10).of(faces, voices)

    def slope(radius: float) -> float:
        loss = lifted_structure(*(radius * each for each in tuples), margin=1.0)
        return torch.autograd.grad(loss, spread, retain_graph=True)[0].item()

    assert slope(P2VANetSettings().radius) < 0 < slope(1.0)
