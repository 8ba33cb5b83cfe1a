"""Properties of both papers' models that compare pairs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from avsearch.models.checkpoint import load_checkpoint, save_checkpoint
from avsearch.models.layers.batch import Batch
from avsearch.models.layers.interaction import CompactBilinear, attend, unit_positions
from avsearch.models.layers.trainable import Stage
from avsearch.models.papers.acienet import ACIENet
from avsearch.models.papers.aicanet import AICANet
from avsearch.models.papers.pair_baseline import FACE, VOICE
from tests.helpers import plain
from tests.helpers.tiny import parameters_of, tiny_batch
from tests.helpers.tiny_pairs import MEDIA, frozen_batch, lived_pairs, tiny_pairs

KINDS = [ACIENet, AICANet]
CLOSE = {"atol": 1e-5, "rtol": 0}
CLOSE_SCORES = {"atol": 1e-4, "rtol": 1e-5}  # of about ten
OF_MEDIA = {"face_features": (), "voice_features": (), **MEDIA}

every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without = pytest.mark.parametrize("interaction", [True, False])


def count(*parts: nn.Module) -> int:
    return sum(p.numel() for part in parts for p in part.parameters())


def without_pairs(batch: Batch) -> Batch:
    """The same faces and voices, of people who have nothing in common."""
    voices = dataclasses.replace(
        batch.voices, labels=batch.voices.labels + 50, people=batch.voices.people + 50
    )
    return Batch(batch.faces, voices)


def larger_faces(batch: Batch) -> Batch:
    """With faces that give a map of more than one position."""
    larger = batch.faces.inputs.repeat_interleave(3, 2).repeat_interleave(3, 3)
    return Batch(dataclasses.replace(batch.faces, inputs=larger), batch.voices)


def maps_of(network, batch: Batch) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        faces = network.feature_map_face(batch.faces.inputs)
        return faces, network.feature_map_voice(batch.voices.inputs)


# The network.


@pytest.fixture(scope="module", params=KINDS)
def paper(request):
    """A network of the papers' size."""
    return request.param(request.param.Settings()).eval()


def test_the_size_and_the_shapes_are_the_papers(paper):
    stem = 3 * 64 * 49 + 2 * 64
    assert count(paper.face_trunk) == 11_176_512  # ResNet-18 without its classifier
    # SE-ResNet-34: 21,284,672 of ResNet-34, of which 9,536 are the stem, and the SE modules.
    gates = [(64, 3), (128, 4), (256, 6), (512, 3)]
    excitation = sum(n * (2 * c * (c // 16) + c // 16 + c) for c, n in gates)
    front = 15 * (1 * 16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64)
    assert count(paper.voice_trunk) == 21_284_672 - stem + excitation + front
    assert paper.generator[0].in_features == 4608
    assert (paper.generator[0].out_features, paper.generator[2].out_features) == (256, 128)
    with torch.inference_mode():
        faces = paper.feature_map_face(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
        voices = paper.feature_map_voice(torch.linspace(-1, 1, 160_000)[None])
        assert faces.shape == voices.shape == (1, 512, 3, 3)
        assert paper.interact(faces, voices, "face").shape == (1,)
        assert paper.vectors(paper.apart(faces, "face"), "face").shape == (1, 128)


@every_kind
def test_a_small_model_has_the_settings_it_is_given(kind):
    small = kind.Settings.small(dim=32, width=4)
    assert (small.dim, small.width) == (32, 4)
    assert small.face_size < kind.Settings().face_size
    network = kind(kind.Settings.small(width=4)).eval()
    with torch.inference_mode():
        assert network.embed_face(torch.zeros(1, 3, 96, 96, dtype=torch.uint8)).shape == (1, 128)
        assert network.embed_voice(torch.randn(1, 64_000)).shape == (1, 128)


@every_kind
def test_a_tuple_of_one_candidate_cannot_be(kind):
    with pytest.raises(ValueError, match="take at least 2"):
        kind.Settings(candidates=1)


@every_kind
def test_maps_of_frozen_features_are_taken_as_well_as_vectors(kind):
    network = tiny_pairs(kind, face_features=(8, 7, 7), voice_features=(5, 4, 9)).eval()
    with torch.inference_mode():
        assert network.feature_map_face(torch.randn(2, 8, 7, 7)).shape == (2, 32, 3, 3)
        assert network.embed_voice(torch.randn(2, 5, 4, 9)).shape == (2, 16)


# Each alone.


@every_kind
@settings(max_examples=5)
@given(chosen=st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_vectors_depend_neither_on_neighbours_nor_on_number_nor_on_order(kind, chosen):
    network, batch = lived_pairs(kind, **OF_MEDIA), tiny_batch(6, 6)
    with torch.inference_mode():
        for side, embed in ((batch.faces, network.embed_face), (batch.voices, network.embed_voice)):
            alone = torch.cat([embed(side.inputs[at : at + 1]) for at in chosen])
            torch.testing.assert_close(embed(side.inputs[chosen]), alone, **CLOSE)
            torch.testing.assert_close(alone.norm(dim=1), torch.ones(len(chosen)))


@every_kind
@with_and_without
@settings(max_examples=5)
@given(chosen=st.lists(st.integers(0, 11), min_size=1, max_size=12), asks=st.booleans())
def test_scores_depend_neither_on_number_nor_on_order_of_candidates(
    kind, interaction, chosen, asks
):
    network = lived_pairs(kind, interaction=interaction)
    faces, voices = maps_of(network, frozen_batch())
    query, candidates, modality = (
        (faces[:1], voices, "face") if asks else (voices[:1], faces, "voice")
    )
    with torch.inference_mode():
        alone = torch.cat(
            [network.interact(query, candidates[at : at + 1], modality) for at in chosen]
        )
        together = network.interact(query, candidates[chosen], modality)
    assert together.shape == (len(chosen),)
    torch.testing.assert_close(together, alone, **CLOSE_SCORES)


@every_kind
@with_and_without
def test_different_candidates_have_different_scores(kind, interaction):
    network = lived_pairs(kind, interaction=interaction)
    faces, voices = maps_of(network, frozen_batch())
    with torch.inference_mode():
        scores = network.interact(voices[:1], faces, "voice")
    assert (scores[:, None] - scores).abs().add(torch.eye(12)).min() > 1e-4


@every_kind
def test_a_pair_has_one_score_whoever_asks(kind):
    network = lived_pairs(kind)
    faces, voices = maps_of(network, frozen_batch())
    with torch.inference_mode():
        for at in range(3):
            by_face = network.interact(faces[:1], voices[at : at + 1], "face")
            by_voice = network.interact(voices[at : at + 1], faces[:1], "voice")
            torch.testing.assert_close(by_face, by_voice, **CLOSE_SCORES)


@every_kind
def test_nothing_is_random_and_nothing_is_learnt_at_test_time(kind):
    network, batch = lived_pairs(kind), frozen_batch()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    maps = maps_of(network, batch)
    with torch.inference_mode():
        scores = [network.interact(maps[0][:1], maps[1], "face") for _ in range(2)]
        vectors = [network.embed_face(batch.faces.inputs) for _ in range(2)]
    assert torch.equal(*scores)
    assert torch.equal(*vectors)
    assert torch.equal(generator, torch.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@every_kind
def test_a_saved_model_gives_the_same_vectors_and_scores(kind, tmp_path):
    network, batch = lived_pairs(kind), frozen_batch()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, "pairs", network, {}, half=False)
    again = load_checkpoint(path, {"pairs": kind}).network
    assert again.settings == network.settings
    (faces, voices), others = maps_of(network, batch), maps_of(again, batch)
    with torch.inference_mode():
        assert torch.equal(
            network.interact(faces[:1], voices, "face"),
            again.interact(others[0][:1], others[1], "face"),
        )
        for embed in ("embed_face", "embed_voice"):
            inputs = (batch.faces if embed == "embed_face" else batch.voices).inputs
            assert torch.equal(getattr(network, embed)(inputs), getattr(again, embed)(inputs))


# The losses.


@every_kind
def test_the_critic_is_trained_to_tell_faces_from_voices_and_sends_no_gradient(kind):
    network, batch = lived_pairs(kind), frozen_batch()
    encoded = network.encode(batch)
    faces = network.discriminator(encoded.faces).tolist()
    voices = network.discriminator(encoded.voices).tolist()
    wanted = plain.cross_entropy(faces, [FACE] * len(faces))
    wanted += plain.cross_entropy(voices, [VOICE] * len(voices))
    loss = network.discriminator_loss(encoded)
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    loss.backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    assert moved == {
        f"discriminator.{name}" for name, _ in network.discriminator.named_parameters()
    }


@every_kind
def test_the_generator_is_trained_to_look_like_the_other_modality(kind):
    network, batch = lived_pairs(kind), frozen_batch()
    encoded = network.encode(batch)
    faces = network.discriminator(encoded.faces).tolist()
    voices = network.discriminator(encoded.voices).tolist()
    wanted = plain.cross_entropy(faces, [VOICE] * len(faces))
    wanted += plain.cross_entropy(voices, [FACE] * len(voices))
    terms = network.loss_terms(encoded, batch, Stage())
    assert terms["adversary"].item() == pytest.approx(wanted, rel=1e-5)


@every_kind
def test_tuples_are_of_both_directions_alone_and_together_with_the_match_first(kind):
    network, batch = lived_pairs(kind, candidates=3), frozen_batch()
    encoded = network.encode(batch)
    kinds = [(each.drawn.anchor, each.similarities is None) for each in encoded.matched]
    assert kinds == [("voice", True), ("face", True), ("voice", False), ("face", False)]
    for each in encoded.matched:
        assert each.faces.shape == each.voices.shape == (12, 3, 16)
        same = (
            batch.faces.labels[each.drawn.face_rows] == batch.voices.labels[each.drawn.voice_rows]
        )
        assert same.tolist() == [[True, False, False]] * 12
        asking = each.drawn.face_rows if each.drawn.anchor == "face" else each.drawn.voice_rows
        assert asking.tolist() == [[at] * 3 for at in range(12)]


@every_kind
def test_vectors_and_scores_of_tuples_are_those_of_their_pairs(kind):
    network, batch = lived_pairs(kind), frozen_batch()
    faces, voices = maps_of(network, batch)
    with torch.inference_mode():
        encoded = network.encode(batch)
        scores = network.scores(encoded.matched[2].faces, encoded.matched[2].voices)
        drawn = encoded.matched[2].drawn
        for row in range(3):
            for place in range(2):
                voice, face = drawn.voice_rows[row, place], drawn.face_rows[row, place]
                score = network.interact(voices[voice][None], faces[face][None], "voice")
                assert scores[row, place].item() == pytest.approx(score.item(), abs=1e-4)
        alone = encoded.matched[0]
        torch.testing.assert_close(
            alone.faces[:, 0],
            network.embed_face(batch.faces.inputs[drawn.face_rows[:, 0]]),
            **CLOSE,
        )


@every_kind
def test_people_with_nothing_in_common_cost_no_pair(kind):
    network = lived_pairs(kind)
    batch = without_pairs(frozen_batch())
    terms = network.loss_terms(network.encode(batch), batch, Stage())
    assert [terms[name].item() for name in ("alignment", "metric", "matching")] == [0, 0, 0]
    assert terms["adversary"] > 0
    sum(terms.values()).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@every_kind
def test_the_alignment_is_annealed(kind):
    network, batch = lived_pairs(kind), frozen_batch()
    encoded = network.encode(batch)
    first, half, last = (
        network.loss_terms(encoded, batch, Stage(done))["alignment"].item() for done in (0, 0.5, 1)
    )
    assert half == pytest.approx(first / 2)
    assert last == pytest.approx(0, abs=1e-6)


@every_kind
def test_without_interaction_nothing_is_aligned_and_no_module_of_it_is_there(kind):
    network, batch = lived_pairs(kind, interaction=False), frozen_batch()
    assert count(network) < count(lived_pairs(kind))
    encoded = network.encode(batch)
    assert [each.similarities for each in encoded.matched] == [None, None]
    terms = network.loss_terms(encoded, batch, Stage())
    assert terms["alignment"].item() == 0
    assert terms["metric"] > 0


# The players.


@every_kind
@with_and_without
def test_each_parameter_is_in_exactly_one_optimizer(kind, interaction):
    network = tiny_pairs(kind, interaction=interaction)
    held = parameters_of(network.optimizers())
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in network.parameters() if p.requires_grad}


@every_kind
def test_rates_are_a_share_of_the_papers(kind):
    network = tiny_pairs(kind, rate=1.0)
    optimizers = network.optimizers()
    rates = {id(p): g["lr"] for g in optimizers.generator.param_groups for p in g["params"]}
    assert {rates[id(p)] for p in network.face_trunk.parameters()} == {5e-2}
    assert {rates[id(p)] for p in network.matcher.parameters()} == {5e-2}
    assert {rates[id(p)] for p in network.generator.parameters()} == {5e-3}
    assert [group["lr"] for group in optimizers.discriminator.param_groups] == [5e-3]
    for optimizer in (optimizers.generator, optimizers.discriminator):
        assert isinstance(optimizer, torch.optim.Adam)
        assert optimizer.defaults["betas"][0] == 0.9
        assert optimizer.defaults["weight_decay"] == 5e-4
    halved = tiny_pairs(kind, rate=0.5).optimizers()
    assert halved.discriminator.param_groups[0]["lr"] == 2.5e-3


@every_kind
@with_and_without
@pytest.mark.parametrize("of", [{}, OF_MEDIA], ids=["frozen", "media"])
def test_each_parameter_gets_a_gradient_in_the_turn_of_its_player(kind, interaction, of):
    network = lived_pairs(kind, interaction=interaction, **of).train()
    batch = larger_faces(tiny_batch(8, 8)) if of else frozen_batch()
    sum(network.loss_terms(network.encode(batch), batch, Stage(0.1)).values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    network.zero_grad()
    network.discriminator_loss(network.encode(batch)).backward()
    for name, parameter in network.discriminator.named_parameters():
        assert parameter.grad.any(), name


@every_kind
def test_a_few_dozen_steps_rank_the_pairs_of_one_batch_first(kind):
    network, batch = tiny_pairs(kind), frozen_batch(each=4, noise=0.1)
    optimizers = network.optimizers()
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(30):
            encoded = network.encode(batch)
            optimizers.discriminator.zero_grad()
            network.discriminator_loss(encoded).backward()
            optimizers.discriminator.step()
            loss = sum(network.loss_terms(encoded, batch, Stage()).values())
            optimizers.generator.zero_grad()
            loss.backward()
            optimizers.generator.step()
            losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    network.eval()
    faces, voices = maps_of(network, batch)
    labels = batch.faces.labels
    with torch.inference_mode():
        vectors = (
            network.embed_voice(batch.voices.inputs) @ network.embed_face(batch.faces.inputs).T
        )
        scores = torch.stack([network.interact(v[None], faces, "voice") for v in voices])
    for found in (vectors, scores):
        assert (labels[found.argmax(1)] == batch.voices.labels).float().mean() > 0.9


# What both are made of.


def test_compact_pooling_is_the_count_sketch_of_the_outer_product():
    pooling = CompactBilinear(5, 16)
    a, b = torch.randn(2, 3, 5)
    wanted = torch.zeros(3, 16)
    places, signs = pooling.places.tolist(), pooling.signs.tolist()
    for row in range(3):
        for i in range(5):
            for j in range(5):
                at = (places[0][i] + places[1][j]) % 16
                wanted[row, at] += signs[0][i] * signs[1][j] * a[row, i] * b[row, j]
    wanted = wanted.sign() * wanted.abs().sqrt()
    found = pooling(a, b)
    torch.testing.assert_close(found, nn.functional.normalize(wanted), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_compact_pooling_of_nought_is_nought_with_a_finite_gradient():
    a = torch.zeros(2, 5).requires_grad_()
    pooled = CompactBilinear(5, 16)(a, torch.zeros(2, 5))
    pooled.sum().backward()
    assert not pooled.any()
    assert a.grad.isfinite().all()


def test_hashes_belong_to_the_model():
    assert CompactBilinear(5, 16).state_dict().keys() == {"places", "signs"}
    assert set(CompactBilinear(50, 16).signs.flatten().tolist()) == {-1.0, 1.0}


def test_attention_mixes_positions_by_plain_loops():
    maps, weights = torch.randn(2, 4, 2, 3), torch.rand(2, 6, 6)
    found = attend(weights, maps)
    assert found.shape == maps.shape
    for row in range(2):
        for to in range(6):
            wanted = sum(weights[row, to, at] * maps[row].flatten(1)[:, at] for at in range(6))
            torch.testing.assert_close(found[row].flatten(1)[:, to], wanted)


def test_positions_are_scaled_over_their_channels():
    positions = unit_positions(torch.randn(2, 4, 2, 3))
    assert positions.shape == (2, 6, 4)
    torch.testing.assert_close(positions.norm(dim=2), torch.ones(2, 6))


def test_a_position_of_nought_stays_so_with_a_gradient_that_half_precision_holds():
    maps = torch.zeros(1, 4, 2, 2, dtype=torch.float16, requires_grad=True)
    positions = unit_positions(maps)
    positions.sum().backward()
    assert not positions.any()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interaction", [True, False])
@pytest.mark.parametrize("modality", ["face", "voice"])
def test_the_matching_head_answers_for_each_pair_alone(kind, interaction, modality):
    network = lived_pairs(kind, interaction=interaction)
    anchors = torch.rand(3, *network.settings.map_shape)
    candidates = torch.rand(3, 4, *network.settings.map_shape)
    with torch.inference_mode():
        logits = network.match(anchors, candidates, modality)
        alone = [network.interact(anchors[n : n + 1], candidates[n], modality) for n in range(3)]
        fewer = network.match(anchors, candidates[:, [2, 0]], modality)
    assert logits.shape == (3, 4)
    torch.testing.assert_close(logits, torch.stack(alone), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fewer, logits[:, [2, 0]], atol=1e-4, rtol=1e-4)
