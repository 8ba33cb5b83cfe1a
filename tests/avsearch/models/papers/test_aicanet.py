from __future__ import annotations

import pytest
import torch

from avsearch.models.layers.trainable import Stage
from avsearch.models.papers.aicanet import AICANet, AICANetSettings, Threshold
from tests.helpers import plain
from tests.helpers.tiny_pairs import frozen_batch, lived_pairs, tiny_pairs

corrections = pytest.mark.parametrize("correction", ["clamp", "zero", "none"])


def test_settings_are_the_papers():
    settings = AICANetSettings()
    assert (settings.theta, settings.temperature, settings.candidates) == (1.2, 5.0, 2)
    assert (settings.delta, settings.mu1, settings.mu2) == (10, 10, 4)
    assert (settings.correction, settings.stretching) == ("clamp", True)
    assert settings.voice_asks[1] == 2  # alpha of V-F
    assert settings.face_asks[1] == 3  # of F-V
    schedule = tiny_pairs(AICANet).schedule()
    assert (schedule.epochs, schedule.batch) == (50, 50)
    factors = [schedule.factor(epoch / 50) for epoch in (0, 24, 25, 39, 40)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_a_correction_that_is_none_of_the_three_cannot_be():
    with pytest.raises(ValueError, match="no correction is 'clip'"):
        AICANetSettings(correction="clip")
    with pytest.raises(ValueError, match="take at least 2"):
        AICANetSettings(candidates=0)


# The threshold.


def test_a_threshold_is_a_share_of_the_mean_correlation():
    torch.manual_seed(0)
    threshold, matrices = Threshold(4, "clamp"), torch.rand(5, 4, 4) * 2 - 1
    epsilon = threshold.epsilon(matrices)
    assert epsilon.shape == (5, 1, 1)
    for row in range(5):
        maxima = [max(column) for column in matrices[row].T.tolist()]
        maxima += [max(line) for line in matrices[row].tolist()]
        share = threshold.layers(torch.tensor(maxima)).item()
        mean = sum(abs(value) for value in matrices[row].flatten().tolist()) / 16
        assert 0 < share < 1
        assert epsilon[row].item() == pytest.approx(share * mean, rel=1e-5)


@pytest.mark.parametrize("correction", ["clamp", "zero"])
def test_correction_by_plain_loops(correction):
    torch.manual_seed(0)
    threshold, matrices = Threshold(4, correction), torch.rand(3, 4, 4) * 2 - 1
    found, epsilon = threshold(matrices), threshold.epsilon(matrices)
    for row in range(3):
        limit = epsilon[row].item()
        for value, corrected in zip(
            matrices[row].flatten().tolist(), found[row].flatten().tolist(), strict=True
        ):
            beyond = max(abs(value) - limit, 0.0) * (1 if value > 0 else -1)
            wanted = beyond if correction == "zero" else max(-limit, min(limit, value))
            assert corrected == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("correction", ["clamp", "zero"])
def test_correction_of_no_correlation_is_none(correction):
    matrices = torch.zeros(2, 4, 4).requires_grad_()
    found = Threshold(4, correction)(matrices)
    found.sum().backward()
    assert not found.any()
    assert matrices.grad.isfinite().all()


# The interaction.


def positions_about_mean(maps):
    """(B, h * w, C) of unit length, one by one."""
    rows = []
    for own in maps.flatten(2):
        deviations = own - own.mean(1, keepdim=True)
        rows.append(torch.stack([column / column.norm() for column in deviations.T]))
    return torch.stack(rows)


def normed(maps):
    deviation, mean = torch.std_mean(maps.flatten(2), 2, correction=0)
    return (maps.flatten(2) - mean[..., None]) / (deviation.square()[..., None] + 1e-5).sqrt()


def mixed(correlations, maps):
    """The attention of each position to its own map, one by one."""
    attended = torch.zeros_like(maps.flatten(2))
    for row in range(len(maps)):
        for at in range(attended.shape[2]):
            shares = (10 * correlations[row, at]).exp()
            for to, share in enumerate(shares / shares.sum()):
                attended[row, :, at] += share * maps[row].flatten(1)[:, to]
    return attended.reshape(maps.shape)


@corrections
def test_meetings_are_eq_8(correction):
    torch.manual_seed(0)
    network = lived_pairs(AICANet, correction=correction)
    faces, voices = torch.rand(2, 4, 32, 3, 3)
    with torch.no_grad():
        meeting = network.meet(faces, voices)
        assert {value > 0 for value in meeting.similarities.tolist()} == {True, False}
        attention = network.voice_attention
        own, other = positions_about_mean(voices), positions_about_mean(faces)
        intra = mixed(attention.intra_filter(own @ own.transpose(1, 2)), voices)
        between = attention.inter_filter(own @ other.transpose(1, 2))
        signs = torch.tensor([1.0 if r > 0 else -1.0 for r in meeting.similarities.tolist()])
        first = mixed(signs[:, None, None] * between, voices)
        inter = mixed(own @ positions_about_mean(first).transpose(1, 2), voices)
        masks = attention.intra_gate(intra).flatten(2), attention.inter_gate(inter).flatten(2)
        wanted = (1 - sum(masks)) * voices.flatten(2)
        wanted += masks[0] * normed(intra) + masks[1] * normed(inter)
        found = meeting.voices.flatten(2)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
        alone = (1 - masks[0]) * voices.flatten(2) + masks[0] * normed(intra)
        found = network.apart(voices, "voice").flatten(2)
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-3)


@corrections
def test_attention_is_not_uniform_on_maps_that_are_all_positive(correction):
    network = lived_pairs(AICANet, correction=correction)
    maps = torch.rand(2, 32, 3, 3) + 1.0
    with torch.no_grad():
        taken, _ = network.face_attention.intra(maps)
    assert taken.flatten(2).std(2).min() > 1e-3


def test_only_the_sign_of_the_relevance_guides():
    network = lived_pairs(AICANet)
    faces, voices = torch.rand(2, 4, 32, 3, 3)
    with torch.no_grad():
        before = network.meet(faces, voices)
        network.relevance.weight.mul_(3)
        network.relevance.bias.mul_(3)
        after = network.meet(faces, voices)
        network.relevance.weight.mul_(-1)
        network.relevance.bias.mul_(-1)
        turned = network.meet(faces, voices)
    assert torch.equal(before.faces, after.faces)
    torch.testing.assert_close(after.similarities, 3 * before.similarities)
    assert not torch.allclose(before.faces, turned.faces)


def test_masks_start_near_nought():
    network = tiny_pairs(AICANet)
    maps = torch.rand(4, 32, 3, 3)
    assert network.face_attention.intra_gate(maps).mean().item() == pytest.approx(0.12, abs=0.05)


def test_without_interaction_a_map_is_itself():
    network = tiny_pairs(AICANet, interaction=False)
    maps = torch.randn(2, 32, 3, 3)
    assert torch.equal(network.apart(maps, "face"), maps)


def test_without_correction_there_is_no_filter():
    names = [name for name, _ in tiny_pairs(AICANet, correction="none").named_parameters()]
    assert not any("filter" in name for name in names)
    assert any("inter_filter" in name for name, _ in tiny_pairs(AICANet).named_parameters())


# The losses.


@pytest.mark.parametrize("stretching", [True, False])
def test_terms_are_those_of_eq_16(stretching):
    network, batch = lived_pairs(AICANet, stretching=stretching), frozen_batch()
    with torch.no_grad():
        encoded = network.encode(batch)
        terms = network.loss_terms(encoded, batch, Stage(0.2))
    assert terms.keys() == {"adversary", "alignment", "metric", "matching"}
    wanted = {"alignment": 0.0, "metric": 0.0, "matching": 0.0}
    for matched in encoded.matched:
        asks_voice = matched.drawn.anchor == "voice"
        gamma, alpha, beta = (1, 2, 1) if asks_voice else (3, 3, 1)
        residuals = matched.voices - matched.faces
        logits = network.matcher(torch.exp(residuals))[..., 0]
        scores = logits - network.nearness * residuals.norm(dim=2)
        sides = matched.voices.tolist(), matched.faces.tolist()
        anchors, candidates = sides if asks_voice else sides[::-1]
        metric = (
            plain.stretching(anchors, candidates, 1.2, 10, 4)
            if stretching
            else plain.contrast(anchors, candidates, 1.2)
        )
        wanted["metric"] += alpha * metric
        wanted["matching"] += beta * plain.cross_entropy(scores.tolist(), [0] * 12)
        if matched.similarities is not None:
            wanted["alignment"] += gamma * plain.alignment(matched.similarities.tolist(), 0.2, 5.0)
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4), name
