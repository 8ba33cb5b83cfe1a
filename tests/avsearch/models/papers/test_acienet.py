from __future__ import annotations

import dataclasses

import pytest
import torch

from avsearch.models.layers.batch import UNKNOWN, Batch
from avsearch.models.layers.trainable import Stage
from avsearch.models.papers.acienet import ACIENet, ACIENetSettings, Enhancement, Interaction
from tests.helpers import plain
from tests.helpers.tiny_pairs import frozen_batch, lived_pairs, tiny_pairs


def test_settings_are_the_papers():
    settings = ACIENetSettings()
    assert (settings.theta, settings.temperature, settings.candidates) == (1.2, 5.0, 2)
    assert (*settings.voice_asks, settings.attribute) == (3, 1, 2, 1)
    assert (*settings.face_asks, settings.attribute) == (1, 1, 1, 1)
    assert settings.genders * settings.nations == 6
    schedule = tiny_pairs(ACIENet).schedule()
    assert schedule.batch == 50
    factors = [schedule.factor(epoch / schedule.epochs) for epoch in (0, 19, 20, 34, 35)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_similarities_are_between_minus_one_and_one():
    network = lived_pairs(ACIENet)
    with torch.no_grad():
        network.similarity.weight.mul_(1e3)
        meeting = network.meet(*(10 * torch.randn(2, 30, 32, 3, 3)))
    assert meeting.similarities.abs().max() <= 1
    assert meeting.similarities.min() < 0 < meeting.similarities.max()


def test_interaction_by_plain_loops():
    torch.manual_seed(0)
    interaction = Interaction(6, 4)
    maps, other = torch.rand(2, 2, 6, 2, 2)
    keys, others = interaction.keys(maps), interaction.keys(other)
    similarities = torch.tensor([0.5, -0.25])
    found = interaction(maps, keys, others, similarities)
    for row in range(2):
        attended = torch.zeros(6, 4)
        for at in range(4):
            logits = torch.stack([keys[row, at] @ others[row, to] for to in range(4)])
            shares = logits.exp() / logits.exp().sum()
            for to in range(4):
                attended[:, at] += shares[to] * maps[row].flatten(1)[:, to]
        guided = torch.cat([similarities[row].expand(1, 4), attended])
        weight = interaction.decompress.weight[:, :, 0, 0]
        met = weight @ guided + interaction.decompress.bias[:, None]
        mask = interaction.gate.layers(met.mean(1) + met.amax(1))[:, None]
        deviation, mean = torch.std_mean(met, 1, keepdim=True, correction=0)
        normed = (met - mean) / (deviation.square() + 1e-5).sqrt()
        wanted = mask * maps[row].flatten(1) + (1 - mask) * normed
        torch.testing.assert_close(found[row].flatten(1), wanted, atol=1e-5, rtol=1e-4)


def test_enhancement_weights_channels_by_one_on_average():
    enhancement = Enhancement(8)
    maps = torch.rand(3, 8, 2, 2) + 0.1
    weights = (enhancement(maps) / maps).flatten(2)
    torch.testing.assert_close(weights.amax(2), weights.amin(2))
    torch.testing.assert_close(weights[:, :, 0].mean(1), torch.ones(3))


def test_without_enhancement_a_map_is_itself():
    network = tiny_pairs(ACIENet, enhancement=False)
    maps = torch.randn(2, 32, 3, 3)
    assert torch.equal(network.apart(maps, "face"), maps)
    batch = frozen_batch()
    assert "attribute" not in network.loss_terms(network.encode(batch), batch, Stage())
    assert not any("enhancement" in name for name, _ in network.named_parameters())


def test_the_enhancement_is_added_to_a_map():
    network = lived_pairs(ACIENet)
    maps = torch.randn(2, 32, 3, 3)
    wanted = maps + network.voice_enhancement(maps)
    torch.testing.assert_close(network.apart(maps, "voice"), wanted)


def test_terms_are_those_of_eq_23():
    network, batch = lived_pairs(ACIENet, alone=0.5), frozen_batch()
    with torch.no_grad():
        encoded = network.encode(batch)
        terms = network.loss_terms(encoded, batch, Stage(0.2))
    assert terms.keys() == {"adversary", "alignment", "metric", "matching", "attribute"}
    wanted = {"alignment": 0.0, "metric": 0.0, "matching": 0.0}
    for matched in encoded.matched:
        asks_voice, together = matched.drawn.anchor == "voice", matched.similarities is not None
        alpha, beta, gamma = (3, 1, 2) if asks_voice else (1, 1, 1)
        share = 1 if together else 0.5
        residuals = matched.voices - matched.faces
        scores = network.matcher(residuals)[..., 0] - network.nearness * residuals.norm(dim=2)
        sides = matched.voices.tolist(), matched.faces.tolist()
        anchors, candidates = sides if asks_voice else sides[::-1]
        wanted["metric"] += share * beta * plain.contrast(anchors, candidates, 1.2)
        wanted["matching"] += share * gamma * plain.cross_entropy(scores.tolist(), [0] * 12)
        if together:
            wanted["alignment"] += alpha * plain.alignment(matched.similarities.tolist(), 0.2, 5.0)
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4), name


def test_attributes_are_gender_times_the_two_first_nationalities_and_all_others():
    network = lived_pairs(ACIENet)
    batch = frozen_batch(people=8)
    assert set(batch.faces.nationalities.tolist()) == {0, 1, 2, 3, UNKNOWN}
    with torch.no_grad():
        encoded = network.encode(batch)
        found = network.loss_terms(encoded, batch, Stage())["attribute"].item()
        wanted = 0.0
        for side, maps, enhancement in (
            (batch.faces, encoded.face_maps, network.face_enhancement),
            (batch.voices, encoded.voice_maps, network.voice_enhancement),
        ):
            shares = torch.softmax(network.attributes(enhancement.code(maps)), 1).tolist()
            costs = []
            for row, gender, nation in zip(
                shares, side.genders.tolist(), side.nationalities.tolist(), strict=True
            ):
                nations = range(3) if nation == UNKNOWN else [min(nation, 2)]
                costs.append(-torch.tensor(sum(row[3 * gender + n] for n in nations)).log().item())
            wanted += sum(costs) / len(costs)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_unknown_attributes_cost_nothing():
    network, batch = lived_pairs(ACIENet), frozen_batch()
    unknown = torch.full((12,), UNKNOWN)
    sides = [
        dataclasses.replace(side, genders=unknown, nationalities=unknown)
        for side in (batch.faces, batch.voices)
    ]
    nameless = Batch(*sides)
    terms = network.loss_terms(network.encode(nameless), nameless, Stage())
    assert terms["attribute"].item() == 0
