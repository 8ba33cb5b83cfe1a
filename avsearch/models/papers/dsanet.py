"""DSANet: dual-enhanced siamese adversarial network (Wang et al., IEEE TMM 2022).

Looking and Hearing Into Details: Dual-Enhanced Siamese Adversarial Network for Audio-Visual
Matching, https://doi.org/10.1109/TMM.2022.3222936.

Two trunks map a face and a voice to feature maps of one size. In training, the peak of a map and
the salient values of a random patch are raised in one copy and lowered in another (dual
enhancement, Eq. 1-9). One generator maps both copies to embeddings, and one discriminator learns
to tell faces from voices in each (siamese adversarial structure, Eq. 10-13). Matching is trained
by an adaptive masked cross-entropy (Eq. 14-20) and a structural metric (Eq. 21-24), retrieval by
the metric with centres and a classifier of differences (Eq. 25-27).

Decisions that the paper leaves open, and departures from it:

- It names ResNet18, and maps of 12 x 12 x 32, flattened to "4068" values; 32 * 12 * 12 is 4608.
  ``conv5``, five small convolutions, is the default; ``resnet18`` keeps the stride of its last
  stage at 1 and ends in a convolution to 32 channels, pooled to 12 x 12.
- Enhancement is random, so it is for training only: an item's embedding is the generator's output
  for its unchanged map, at unit length. The losses use unit vectors too, as the index does.
- Eq. 3 gives a patch as r x c and, in one place, as C/r x HW/c. Here it is r x c of the matrix
  C x HW, one for each item.
- Table I mentions the generator's dropout without its rate: 0.2, before each linear layer.
- Batch normalisation follows each of the generator's linear layers: without it all embeddings
  start in nearly one direction, and stay there. Faces and voices share its statistics, so it
  cannot hide one modality from the other.
- Eq. 12 and 26 sum over the items of a tuple. Here the discriminator takes each item of a step
  once, with equal weight for both modalities. The generator maximises its loss with the weight
  0.1. Eq. 24-25 can be read as a weight of 1, with which the adversary outweighs the terms of
  retrieval, and pairs are hardly learned.
- Eq. 14 contradicts its gradient, Eq. 17; see ``masked_cross_entropy``. Without ``masked``, the
  loss is the cross-entropy over the k candidates.
- The matching head is equivariant to the order of the candidates; see ``MatchingHead``.
- The margin theta of Eq. 22 is not given: 1.
- C_R of Eq. 26 takes "the distance", 128 values: those of the absolute difference. Its one output
  is trained by binary cross-entropy, over the match and the others.
- One network is trained on V-F and F-V tuples together.
- Without ``siamese`` there is one stream, with both enhanced copies as channels: "GAN" in
  Table VII. Without ``enhance`` the two streams differ only by dropout.
- The epochs, and the steps of the rates for matching, are not given: 50, and the shares of T_max
  that are given for retrieval. The trainer truncates large gradients.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from avsearch.models.layers.backbones import Conv5, FrozenFeatures, resnet18
from avsearch.models.layers.batch import Batch
from avsearch.models.layers.blocks import MatchingHead, SelfAttention, conv_norm
from avsearch.models.layers.frontends import Spectrogram, scale_pixels
from avsearch.models.layers.losses import (
    CentreLoss,
    first_cross_entropy,
    masked_cross_entropy,
    modality_cross_entropy,
    row_mean,
    structural_metric,
)
from avsearch.models.layers.trainable import Optimizers, Schedule, Stage
from avsearch.models.layers.tuples import draw_both_ways

FACE, VOICE = 0, 1  # the classes of the discriminator

Trunk = Literal["conv5", "resnet18"]
Task = Literal["retrieval", "matching"]


@dataclasses.dataclass(frozen=True, slots=True)
class DSANetSettings:
    """Everything that shapes a DSANet model or its loss."""

    dim: int = 128  # values of an embedding
    trunk: Trunk = "conv5"
    widths: tuple[int, ...] = (32, 64, 128, 128)  # channels of the first four of conv5
    channels: int = 32  # C of a map
    map_size: int = 12  # H and W of a map
    face_size: int = 224  # pixels a side
    voice_seconds: float = 2.5  # 125 columns of the spectrogram
    face_features: tuple[int, ...] = ()  # the shape of frozen features, where there are any
    voice_features: tuple[int, ...] = ()
    hidden: int = 256  # values between the generator's two linear layers
    dropout: float = 0.2
    task: Task = "retrieval"  # Eq. 25 or 24
    candidates: int = 10  # k, of which one is the match
    enhance: bool = True  # dual enhancement
    siamese: bool = True  # two streams
    adversary: bool = True
    masked: bool = True  # adaptive masks in the cross-entropy of matching
    patch_rows: int = 4  # r, Eq. 3: channels
    patch_columns: int = 4  # c: positions
    alpha: float = 1.0  # Eq. 8
    beta: float = 0.9  # Eq. 9
    eta: float = 0.1  # Eq. 16
    margin: float = 1.0  # theta, Eq. 22
    metric_weight: float = 2.0  # lambda, Eq. 24
    matching_weight: float = 3.0  # mu, Eq. 24
    retrieval_metric_weight: float = 0.1  # lambda_1, Eq. 25
    retrieval_class_weight: float = 0.2  # mu_1, Eq. 25
    adversary_weight: float = 0.1  # of the discriminator's loss, for the generator
    rate: float = 5e-3  # of the generator and the discriminator
    head_rate: float = 5e-2  # of the classifiers
    classes: int = 2  # labels that faces and voices share; as many centres

    def __post_init__(self) -> None:
        if self.trunk not in get_args(Trunk):
            raise ValueError(f"there is no trunk {self.trunk!r}; take conv5 or resnet18.")
        if self.task not in get_args(Task):
            raise ValueError(f"there is no task {self.task!r}; take retrieval or matching.")
        if self.candidates < 2:
            raise ValueError("of the candidates one is the match; take at least 2.")

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """Return settings of a network and inputs for a laptop."""
        small: dict[str, Any] = {
            "widths": (16, 32, 48, 64),
            "map_size": 6,
            "face_size": 96,
            "voice_seconds": 2.0,
        }
        return cls(**(small | changes))


# Dual enhancement.


def enhancement_mask(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Return the mask M of Eq. 6, bool, of maps (B, C, HW), with random patches."""
    peak = maps == maps.amax((1, 2), keepdim=True)  # Eq. 1
    salient = maps > maps.mean((1, 2), keepdim=True)  # Eq. 2
    in_rows = _one_run(maps, 1, rows)[:, :, None]
    in_columns = _one_run(maps, 2, columns)[:, None, :]
    return (salient & in_rows & in_columns) | peak  # Eq. 3-6


def _one_run(maps: Tensor, axis: int, length: int) -> Tensor:
    """Return the mask (B, size of axis) of a random run of ``length`` for each row."""
    size = maps.shape[axis]
    chosen = torch.randint(max(1, size // length), (len(maps), 1), device=maps.device)
    return torch.arange(size, device=maps.device) // length == chosen


def dual_enhancement(maps: Tensor, settings: DSANetSettings) -> tuple[Tensor, Tensor]:
    """Return maps (B, C, H, W) with salient features raised, and lowered; Eq. 7-9."""
    mask = enhancement_mask(
        maps.detach().flatten(2), settings.patch_rows, settings.patch_columns
    ).reshape(maps.shape)
    chosen = mask * maps  # Eq. 7
    return maps + settings.alpha * chosen, maps - settings.beta * chosen  # Eq. 8, 9


# The network.


def trunk(settings: DSANetSettings, channels: int, features: tuple[int, ...]) -> nn.Module:
    """Return the trunk of pictures (B, channels, H, W) or features to maps (B, C, size, size)."""
    size = (settings.map_size, settings.map_size)
    if features:
        return FrozenFeatures(features, (settings.channels, *size))
    if settings.trunk == "conv5":
        return Conv5(channels, (*settings.widths, settings.channels), size)
    body = resnet18(channels, last_stride=1)
    last = conv_norm(2, body.channels, settings.channels, 1)
    return nn.Sequential(body, last, nn.ReLU(), nn.AdaptiveAvgPool2d(size))


def generator(settings: DSANetSettings) -> nn.Sequential:
    """Return G of Eq. 10-11: maps (B, C, size, size), or two stacked, to (B, dim)."""
    both = settings.enhance and not settings.siamese
    channels = settings.channels * (2 if both else 1)
    return nn.Sequential(
        SelfAttention(channels),  # phi
        nn.Flatten(),
        nn.Dropout(settings.dropout),
        spectral_norm(nn.Linear(channels * settings.map_size**2, settings.hidden)),  # psi
        nn.BatchNorm1d(settings.hidden),
        nn.ReLU(),
        nn.Dropout(settings.dropout),
        spectral_norm(nn.Linear(settings.hidden, settings.dim)),
        nn.BatchNorm1d(settings.dim),
        nn.Tanh(),
    )


class DSANet(nn.Module):
    """The trunks, the generator, the discriminator, and the classifiers of either task."""

    Settings = DSANetSettings

    def __init__(self, settings: DSANetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.face_trunk = trunk(settings, 3, settings.face_features)
        self.voice_trunk = trunk(settings, 1, settings.voice_features)
        self.spectrogram = Spectrogram()
        self.generator = generator(settings)
        self.discriminator = nn.Sequential(
            spectral_norm(nn.Linear(settings.dim, settings.dim // 2)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Linear(settings.dim // 2, 2)),
        )
        self.head: nn.Module
        if settings.task == "matching":
            self.head, streams = MatchingHead(settings.dim), 0
        else:
            self.head, streams = nn.Linear(settings.dim, 1), 2 if settings.siamese else 1  # C_R
        self.centres = nn.ModuleList(
            CentreLoss(settings.classes, settings.dim) for _ in range(streams)
        )

    # Embedding.

    def embed_face(self, inputs: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of faces (B, 3, size, size) uint8, or frozen features."""
        return self._generate(self._unchanged(self._face_map(inputs)))

    def embed_voice(self, inputs: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of voices (B, samples) at 16 kHz, or frozen features."""
        return self._generate(self._unchanged(self._voice_map(inputs)))

    def match(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        """Return logits (n, k) that candidates (n, k, dim) match their anchors (n, dim)."""
        if self.settings.task == "matching":
            logits: Tensor = self.head(anchors, candidates)
        else:
            logits = self.head((anchors[:, None] - candidates).abs()).squeeze(2)
        return logits

    def _face_map(self, inputs: Tensor) -> Tensor:
        if not self.settings.face_features:
            inputs = scale_pixels(inputs)
        maps: Tensor = self.face_trunk(inputs)
        return maps

    def _voice_map(self, inputs: Tensor) -> Tensor:
        if not self.settings.voice_features:
            inputs = self.spectrogram(inputs)
        maps: Tensor = self.voice_trunk(inputs)
        return maps

    def _generate(self, maps: Tensor) -> Tensor:
        return functional.normalize(self.generator(maps).float())

    def _unchanged(self, maps: Tensor) -> Tensor:
        """Return the generator's input of maps outside training."""
        both = self.settings.enhance and not self.settings.siamese
        return torch.cat([maps, maps], 1) if both else maps

    # Training.

    def encode(self, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """Return embeddings of a batch, faces (n, dim) and voices (m, dim) for each stream."""
        maps = self._face_map(batch.faces.inputs), self._voice_map(batch.voices.inputs)
        streams = self._streams(torch.cat(maps))
        faces = len(batch.faces)
        return [each[:faces] for each in streams], [each[faces:] for each in streams]

    def _streams(self, maps: Tensor) -> Sequence[Tensor]:
        """Return embeddings of maps for each stream, the salient before the subtle one."""
        copies = (maps, maps)
        if self.settings.enhance and self.training:
            copies = dual_enhancement(maps, self.settings)
        if self.settings.siamese:
            return self._generate(torch.cat(copies)).chunk(2)
        return [self._generate(torch.cat(copies, 1) if self.settings.enhance else maps)]

    def discriminator_loss(self, encoded: tuple[list[Tensor], list[Tensor]]) -> Tensor:
        """Return the discriminator's loss, Eq. 12-13; no gradient reaches the generator."""
        faces, voices = encoded
        return self._modality_loss([h.detach() for h in faces], [h.detach() for h in voices])

    def loss_terms(
        self, encoded: tuple[list[Tensor], list[Tensor]], batch: Batch, stage: Stage
    ) -> dict[str, Tensor]:
        """Return the weighted terms whose sum the generator minimises, Eq. 24 or 25."""
        del stage
        tuples = draw_both_ways(batch.faces.labels, batch.voices.labels, self.settings.candidates)
        drawn = [tuples.of(faces, voices) for faces, voices in zip(*encoded, strict=True)]
        matching = self.settings.task == "matching"
        terms = self._matching_terms(drawn) if matching else self._retrieval_terms(drawn)
        if not matching:
            terms["centres"] = self._centre_loss(*encoded, batch)
        if self.settings.adversary:
            loss = self._modality_loss(*encoded)
            terms["adversary"] = -self.settings.adversary_weight * loss
        return terms

    def schedule(self) -> Schedule:
        """Return the schedule: a tenth at 600 and at 1,000 of 1,200 (section IV-A)."""
        return Schedule(
            epochs=50,
            batch=50 if self.settings.task == "matching" else 128,
            discriminator_every=1 if self.settings.adversary else 0,
            drops=((1 / 2, 0.1), (5 / 6, 0.1)),
        )

    def optimizers(self) -> Optimizers:
        """Return Adam with momentum 0.9, weight decay 5e-4 and the rates of section IV-A."""
        nets = nn.ModuleList([self.face_trunk, self.voice_trunk, self.generator, self.centres])
        adam = functools.partial(
            torch.optim.Adam, lr=self.settings.rate, betas=(0.9, 0.999), weight_decay=5e-4
        )
        groups: list[dict[str, Any]] = [
            {"params": list(nets.parameters())},
            {"params": list(self.head.parameters()), "lr": self.settings.head_rate},
        ]
        return Optimizers(adam(groups), adam(self.discriminator.parameters()))

    def _modality_loss(self, faces: list[Tensor], voices: list[Tensor]) -> Tensor:
        """Return Eq. 12, summed over the streams, Eq. 13."""
        losses = [
            modality_cross_entropy(self.discriminator(h), modality)
            for modality, streams in ((FACE, faces), (VOICE, voices))
            for h in streams
        ]
        return torch.stack(losses).sum()

    def _metric(self, drawn: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return Eq. 21-23."""
        margin = self.settings.margin
        return torch.stack([structural_metric(*each, margin=margin) for each in drawn]).sum()

    def _matching_terms(self, drawn: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Return Eq. 20 and 23 with the weights of Eq. 24."""
        logits = [self.match(*each) for each in drawn]
        if self.settings.masked:
            losses = [masked_cross_entropy(each, eta=self.settings.eta) for each in logits]
        else:
            losses = [first_cross_entropy(each) for each in logits]
        return {
            "metric": self.settings.metric_weight * self._metric(drawn),
            "matching": self.settings.matching_weight * torch.stack(losses).sum(),
        }

    def _retrieval_terms(self, drawn: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Return Eq. 26 and the first term of Eq. 27 with the weights of Eq. 25."""
        losses = []
        for each in drawn:
            logits = self.match(*each)
            costs = functional.softplus(logits[:, 1:]).sum(1) + functional.softplus(-logits[:, 0])
            losses.append(row_mean(costs))
        return {
            "metric": self.settings.retrieval_metric_weight * self._metric(drawn),
            "matching": self.settings.retrieval_class_weight * torch.stack(losses).sum(),
        }

    def _centre_loss(self, faces: list[Tensor], voices: list[Tensor], batch: Batch) -> Tensor:
        """Return the other terms of Eq. 27: both modalities of a class share a centre a stream."""
        labels = torch.cat([batch.faces.labels, batch.voices.labels])
        losses = [
            centres(torch.cat(sides), labels)
            for centres, *sides in zip(self.centres, faces, voices, strict=True)
        ]
        return self.settings.retrieval_metric_weight * torch.stack(losses).sum()
