"""ADSM: adversarial deep semantic matching (Cheng et al., ACM MM 2020).

Hearing like Seeing: Improving Voice-Face Interactions and Associations via Adversarial Deep
Semantic Matching Network, https://doi.org/10.1145/3394171.3413710.

Two nets map a face and a voice into one space. A triplet loss with a weighted negative (Eq. 1),
then multi-modal centres (Eq. 2-6) bring faces and voices of a person together. A modality
classifier learns to tell faces from voices, and the nets learn to prevent it (Eq. 7-9,
Algorithm 1).

Decisions that the paper leaves open, and departures from it:

- Table 1 gives the face net without kernel sizes and cardinality, and only the size of the voice
  net. Kernels of 5, cardinality 16 and an SE reduction of 4 give 7.08 M for the face (7.02 M in
  Table 5). The voice net is the same stack over time, with the 40 cepstra as input channels:
  kernels of 7, cardinality 4, 5.35 M (5.38 M); 12.43 M together (12.40 M).
- The embedding of Table 1 has 32 values, here 128. ``dim=32`` gives the table's.
- Batch normalisation follows the pooling in each net: without it all embeddings start in nearly
  one direction, and the two modalities in different ones.
- Embeddings have unit length, so Eq. 1 has a fixed range, and its Euclidean distance orders as
  the cosine, the metric of the index.
- The sign of L_d in Eq. 7-9 is ambiguous: the classifier minimises its cross-entropy, the
  generator maximises it with weight eta.
- Algorithm 1 trains the classifier in every H-th epoch, here in every H-th step, so that the two
  stay balanced.
- Section 3.5 does not give the length of the training: 30 epochs. In the paper the rates jump to
  1e-2 at epoch 6 and are divided by 10 every 3 epochs, the classifier's every 4. Here they rise
  linearly to that epoch, and both fall every 3. Epoch k of Eq. 6 comes when the triplet loss has
  not fallen by 1 % in 3 epochs; the rates then restart from 1e-2 ("reset to 10e-3").
- If too few people have both a face and a voice, the classes are values of an attribute.
  ``identity_weight`` then separates the people of one class by Eq. 1 within each modality, and
  ``attribute_weight`` adds a classifier that both modalities share, as in DIMNet. The paper needs
  neither, because its classes are people: both are 0 by default. Items of an unknown class take
  part in the losses that do not need it.
- ``face_trunk`` and ``voice_trunk`` replace the nets of Table 1 with nets that have published
  weights; an affine layer after each gives the embedding.
- On frozen features one layer and a ReLU replace each stack of Table 1.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.layers.backbones import CAMPlus, FrozenFeatures, ResNet29
from avsearch.models.layers.batch import UNKNOWN, Batch, BatchSide
from avsearch.models.layers.blocks import CorrectedLinear, SEResNeXtBlock, conv_norm
from avsearch.models.layers.frontends import Cepstra, FilterBanks, scale_pixels
from avsearch.models.layers.losses import (
    AdditiveMargin,
    MultiModalCentres,
    modality_cross_entropy,
    weighted_triplet,
)
from avsearch.models.layers.trainable import Optimizers, Schedule, Stage

FACE, VOICE = 0, 1  # the classes of the modality classifier


@dataclasses.dataclass(frozen=True, slots=True)
class ADSMSettings:
    """Everything that shapes an ADSM model or its loss."""

    dim: int = 128  # values of an embedding
    widths: tuple[int, ...] = (64, 128, 256, 512)  # channels of the four stages, Table 1
    reduction: int = 4  # of the SE modules
    face_size: int = 128  # pixels a side
    face_kernel: int = 5  # of the strided convolutions
    face_block_kernel: int = 3
    face_cardinality: int = 16
    cepstra: int = 40
    voice_seconds: float = 10.0
    voice_kernel: int = 7
    voice_block_kernel: int = 7
    voice_cardinality: int = 4
    alpha: float = 0.8  # weight of the negative, Eq. 1
    margin: float = 0.6  # Eq. 1
    gamma: float = 1.0  # of the shared centres, Eq. 5
    eta: float = 0.3  # weight of the adversary, Eq. 8-9
    turns: int = 5  # H of Algorithm 1: each H-th step trains the modality classifier
    centred: bool = True  # go over to the centres of Eq. 2-6; without them and eta: ADSM-T
    classes: int = 2  # labels that faces and voices share: people, or values of an attribute
    identity_weight: float = 0.0  # of Eq. 1 within each modality, by person; not in the paper
    attribute_weight: float = 0.0  # of the shared classifier; not in the paper
    attribute_scale: float = 8.0  # of its cosines
    face_trunk: Literal["table", "resnet29"] = "table"
    face_down: int = 0  # pixels below the middle of a crop, where a resnet29 looks
    face_hidden: int = 0  # width of the correction to its affine layer
    voice_trunk: Literal["table", "cam++"] = "table"
    voice_hidden: int = 0  # likewise
    face_features: tuple[int, ...] = ()  # shape of frozen features; pictures if empty
    voice_features: tuple[int, ...] = ()  # likewise; waveforms if empty

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """Return settings of narrow nets and small inputs, for training on a laptop's CPU."""
        settings = cls(widths=(16, 32, 64, 128), face_size=48, face_cardinality=4, voice_seconds=3)
        return dataclasses.replace(settings, **changes)


def embedding_net(
    ndim: int,
    channels: int,
    settings: ADSMSettings,
    *,
    kernel: int,
    block_kernel: int,
    cardinality: int,
) -> nn.Sequential:
    """Return the net of Table 1, over a picture (``ndim`` 2) or over time (1).

    It maps (B, channels, ...) to (B, dim).
    """
    stages: list[nn.Module] = []
    for width in settings.widths:
        stages += [
            conv_norm(ndim, channels, width, kernel, stride=2),
            nn.ReLU(inplace=True),
            SEResNeXtBlock(ndim, width, block_kernel, cardinality, settings.reduction),
        ]
        channels = width
    conv = nn.Conv2d if ndim == 2 else nn.Conv1d
    pool = nn.AdaptiveAvgPool2d(1) if ndim == 2 else nn.AdaptiveAvgPool1d(1)
    last = conv(channels, settings.dim, kernel, 2, kernel // 2)
    return nn.Sequential(*stages, last, pool, nn.Flatten(), nn.BatchNorm1d(settings.dim))


def features_net(shape: tuple[int, ...], settings: ADSMSettings) -> nn.Sequential:
    """Return the replacement of a net of Table 1 on frozen features (B, *shape), to (B, dim)."""
    width = settings.widths[-1]
    return nn.Sequential(
        FrozenFeatures(shape, (width, 1, 1)),
        nn.Flatten(),
        nn.Linear(width, settings.dim),
        nn.BatchNorm1d(settings.dim),
    )


def _face_net(settings: ADSMSettings) -> nn.Sequential:
    if settings.face_features:
        return features_net(settings.face_features, settings)
    if settings.face_trunk == "resnet29":
        face = ResNet29(down=settings.face_down)
        return nn.Sequential(face, CorrectedLinear(256, settings.dim, settings.face_hidden))
    return embedding_net(
        2,
        3,
        settings,
        kernel=settings.face_kernel,
        block_kernel=settings.face_block_kernel,
        cardinality=settings.face_cardinality,
    )


def _voice_net(settings: ADSMSettings) -> nn.Sequential:
    if settings.voice_features:
        return features_net(settings.voice_features, settings)
    if settings.voice_trunk == "cam++":
        voice = nn.Sequential(FilterBanks(), CAMPlus())
        behind = CorrectedLinear(
            CAMPlus.channels, settings.dim, settings.voice_hidden, straight=CAMPlus.values
        )
        return nn.Sequential(voice, behind)
    return embedding_net(
        1,
        settings.cepstra,
        settings,
        kernel=settings.voice_kernel,
        block_kernel=settings.voice_block_kernel,
        cardinality=settings.voice_cardinality,
    )


class ADSM(nn.Module):
    """The face net, the voice net and the modality classifier."""

    Settings = ADSMSettings

    def __init__(self, settings: ADSMSettings) -> None:
        super().__init__()
        self.settings = settings
        self.face_net = _face_net(settings)
        self.voice_net = _voice_net(settings)
        table = settings.voice_trunk == "table"
        self.cepstra = Cepstra(settings.cepstra) if table else nn.Identity()
        self.classifier = nn.Sequential(  # N_d, "a three layer fully connected neural network"
            nn.Linear(settings.dim, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2)
        )
        self.centres = MultiModalCentres(settings.classes, settings.dim, gamma=settings.gamma)
        self.attribute = AdditiveMargin(
            settings.classes, settings.dim, margin=0, scale=settings.attribute_scale
        )
        self.attribute.requires_grad_(settings.attribute_weight > 0)

    # Embedding.

    def embed_face(self, faces: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of faces (B, 3, size, size) uint8, or of features."""
        inputs = faces if self.settings.face_features else scale_pixels(faces)
        return functional.normalize(self.face_net(inputs))

    def embed_voice(self, voices: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of voices (B, samples) in [-1, 1] at 16 kHz, or features."""
        inputs = voices if self.settings.voice_features else self.cepstra(voices)
        return functional.normalize(self.voice_net(inputs))

    # Training.

    def schedule(self) -> Schedule:
        """Return the schedule of section 3.5 and Algorithm 1."""
        return Schedule(
            epochs=30,
            batch=96,
            discriminator_every=self.settings.turns if self.settings.eta else 0,
            discriminator_alone=True,
            warmup=6 / 30,
            drops=((9 / 30, 0.1), (12 / 30, 0.1), (15 / 30, 0.1)),
            watched="triplet" if self.settings.centred else "",
            restarts=True,
        )

    def optimizers(self) -> Optimizers:
        """Return the optimizers of section 3.5 for the generator and the classifier."""
        return Optimizers(
            *(
                torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, weight_decay=1e-3)
                for parameters in (self.generator_parameters(), list(self.classifier.parameters()))
            )
        )

    def generator_parameters(self) -> list[nn.Parameter]:
        """Return theta_f and theta_v of Eq. 8, and the shared classifier if it is used."""
        parts = (self.face_net, self.voice_net, self.attribute)
        return [each for part in parts for each in part.parameters() if each.requires_grad]

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return embeddings of a batch: faces (n, dim) and voices (m, dim)."""
        return self.embed_face(batch.faces.inputs), self.embed_voice(batch.voices.inputs)

    def discriminator_loss(self, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """Return the modality classifier's loss, Eq. 7 and 9; no gradient reaches the nets."""
        faces, voices = (side.detach() for side in encoded)
        return self._modality_loss(faces, voices)

    def loss_terms(
        self, encoded: tuple[Tensor, Tensor], batch: Batch, stage: Stage
    ) -> dict[str, Tensor]:
        """Return the weighted terms whose sum the generator minimises, Eq. 8.

        In a settled ``stage`` the centres replace the triplets, Eq. 6.
        """
        settings = self.settings
        triplet = functools.partial(weighted_triplet, alpha=settings.alpha, margin=settings.margin)
        faces, voices = encoded
        terms = {"adversary": -settings.eta * self._modality_loss(faces, voices)}
        if settings.identity_weight:
            sides = ((faces, batch.faces.people), (voices, batch.voices.people))
            costs = [triplet(x, x, people, people, same=True) for x, people in sides]
            terms["identity"] = settings.identity_weight * torch.stack(costs).sum()
        faces, face_labels = _of_known_class(faces, batch.faces)
        voices, voice_labels = _of_known_class(voices, batch.voices)
        if stage.settled:  # Eq. 5, after the centres have moved by Eq. 2
            known = ((FACE, faces, face_labels), (VOICE, voices, voice_labels))
            for modality, vectors, labels in known:
                self.centres.update(modality, vectors, labels)
            costs = [self.centres(*side) if len(side[1]) else side[1].sum() for side in known]
            terms["centres"] = torch.stack(costs).sum()
        else:  # Eq. 1 in both directions
            terms["triplet"] = triplet(voices, faces, voice_labels, face_labels) + triplet(
                faces, voices, face_labels, voice_labels
            )
        if settings.attribute_weight:
            pairs = ((faces, face_labels), (voices, voice_labels))
            costs = [self.attribute(*side) if len(side[0]) else side[0].sum() for side in pairs]
            terms["attribute"] = settings.attribute_weight * torch.stack(costs).sum()
        return terms

    def _modality_loss(self, faces: Tensor, voices: Tensor) -> Tensor:
        return modality_cross_entropy(self.classifier(faces), FACE) + modality_cross_entropy(
            self.classifier(voices), VOICE
        )


def _of_known_class(vectors: Tensor, side: BatchSide) -> tuple[Tensor, Tensor]:
    """Return vectors (k, dim) and labels (k,) of the items of a known class."""
    known = side.labels != UNKNOWN
    return vectors[known], side.labels[known]
