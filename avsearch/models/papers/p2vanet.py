"""P2VANet: public-private attributes-based variational adversarial network (Zheng et al., 2024).

Public-private Attributes-based Variational Adversarial Network for Audio-Visual Cross-Modal
Matching, IEEE TCSVT.

A variational auto-encoder of each modality keeps the global part of a feature (Eq. 1-4). A cross-
transformer attends to private attributes, those of one modality (Eq. 6-12). Two generators map
both modalities into one space, in which a discriminator learns to tell them apart (Eq. 5) and
classifiers predict the public attributes that both share (Eq. 13-14). A lifted structured loss
(Eq. 15-16) and a matching classifier (Eq. 17) bring pairs together (Eq. 18).

Decisions that the paper leaves open, and departures from it:

- The paper names openSMILE and Swin as extractors, and elsewhere five convolutions. Here it is the
  convolutions, from 224 x 224 x 3 and 224 x 125 x 1 to 128 values. A batch normalisation without
  weights fixes the scale, so small values cannot make the reconstruction easy.
- Eq. 2 and 4: the target of the reconstruction has no gradient, and squares and divergences are
  means over values and items. Outside training Z is the mean. The encoder gets clean input:
  "corrupted input" is only in the introduction.
- New encoders sample Z with small deviations; with deviations of 1 the first steps are only noise.
- Batch normalisation ends each generator: without it all embeddings start in nearly one direction,
  and those of the two modalities in different ones.
- Private attributes are 384 values of a voice, openSMILE's IS09 emotion set (12 functionals of
  each of 32 descriptors: 32 tokens), and 12 invariant attributes of a face (12 tokens). Running
  mean and deviation standardise each value. A learned token replaces a token with an unknown
  value; in training ``hidden_share`` of the items lose all their attributes, so that it is
  learned. ``embed_face`` and ``embed_voice`` also take the attributes; an index without attributes
  has vectors made with the learned tokens.
- Eq. 9 adds no position to tokens; here each has its own projection. Eq. 11 calls the attention
  "again": it is the same block with the same weights. A new cross-transformer passes on little but
  Z.
- The generators take Z after the private attributes, as in section III-F and Fig. 2, not f.
- The generators maximise the discriminator's loss, which Eq. 18 leaves out, with the weight 0.3
  of ADSM. Eq. 18 repeats the loss of gender where that of nationality is meant.
- The discriminator and the public classifiers take each item of a step once, with equal weight
  for both modalities; an unknown attribute has no cost.
- Embeddings are unit vectors, so the Euclidean distances of Eq. 16 order as the cosine, the metric
  of the index. The margin theta is not given: 1. In Eq. 16 they have the length ``radius``: at
  unit length its soft minimum hardly separates near others from far ones, and the people of one
  gender and nationality collapse.
- The matching classifier is equivariant to the order of the candidates; see ``MatchingHead``.
- One network is trained on V-F and F-V tuples together.
- The matching classifier, which has no rate in the paper, gets that of the gender classifier.
  The epochs and the steps of the rates are not given: 50, and to a tenth at half and at 5/6.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.layers.backbones import Conv5, FrozenFeatures
from avsearch.models.layers.batch import Batch
from avsearch.models.layers.blocks import MatchingHead
from avsearch.models.layers.frontends import Spectrogram, scale_pixels
from avsearch.models.layers.losses import (
    attribute_cross_entropy,
    first_cross_entropy,
    gaussian_divergence,
    lifted_structure,
    modality_cross_entropy,
    row_mean,
)
from avsearch.models.layers.private_attributes import AttributeTokens, CrossTransformer
from avsearch.models.layers.trainable import Optimizers, Schedule, Stage
from avsearch.models.layers.tuples import draw_both_ways
from indexer.types import Modality

FACE, VOICE = 0, 1  # the classes of the discriminator


@dataclasses.dataclass(frozen=True, slots=True)
class P2VANetSettings:
    """Everything that shapes a P2VANet model or its loss."""

    dim: int = 128  # values of a feature, of Z and of an embedding
    widths: tuple[int, ...] = (32, 64, 128, 128, 32)  # channels of the five convolutions
    map_size: int = 12  # H and W behind them
    face_size: int = 224  # pixels a side
    voice_seconds: float = 2.5  # 125 columns of the spectrogram
    face_features: tuple[int, ...] = ()  # the shape of frozen features, where there are any
    voice_features: tuple[int, ...] = ()
    heads: int = 4  # of the cross attention
    face_vae: bool = True
    voice_vae: bool = True
    private: bool = True  # private attributes, Eq. 6-12
    face_attributes: int = 12  # invariant ones of CelebA
    face_tokens: int = 12
    voice_attributes: int = 384  # IS09: 12 functionals
    voice_tokens: int = 32  # of 32 descriptors
    hidden_share: float = 0.1  # of the items whose private attributes training hides
    gender: bool = True  # Eq. 13
    nationality: bool = True  # Eq. 14
    adversary: bool = True
    candidates: int = 10  # k, of which one is the match
    margin: float = 1.0  # theta, Eq. 16
    radius: float = 6.0  # length of the embeddings in Eq. 16
    reconstruction_weight: float = 1.5  # lambda_1, Eq. 18
    matching_weight: float = 2.0  # lambda_2
    gender_weight: float = 1.0  # lambda_3
    nationality_weight: float = 1.5  # lambda_4
    adversary_weight: float = 0.3
    rate: float = 1e-2  # of variational learning and all that makes embeddings
    critic_rate: float = 5e-3
    gender_rate: float = 5e-3
    nationality_rate: float = 5e-2
    classes: int = 2  # labels that faces and voices share; the losses here need no number
    genders: int = 2
    nationalities: int = 32  # the last stands for all further ones

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise ValueError("of the candidates one is the match; take at least 2.")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} cannot be shared among {self.heads} heads.")
        for values, tokens in (
            (self.face_attributes, self.face_tokens),
            (self.voice_attributes, self.voice_tokens),
        ):
            if values % tokens:
                raise ValueError(f"{values} attributes cannot be cut into {tokens} tokens.")

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """Return settings of a network and inputs for a laptop."""
        small: dict[str, Any] = {
            "widths": (16, 32, 48, 64, 32),
            "map_size": 6,
            "face_size": 96,
            "voice_seconds": 2.0,
        }
        return cls(**(small | changes))


# Variational learning.


class VariationalAutoEncoder(nn.Module):
    """A feature as a normal distribution of Z, and its reconstruction from Z."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 2 * dim))
        # Initial deviations are a fifth, so that the first steps get more than noise.
        nn.init.constant_(self.encoder.get_parameter("2.bias")[dim:], math.log(0.2**2))
        self.decoder = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return Z (B, dim) of features (B, dim), Eq. 1, and the loss of Eq. 2 and 4."""
        mean, log_variance = self.encoder(features).float().chunk(2, 1)
        z = mean
        if self.training:
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()  # Eq. 1
        errors = (self.decoder(z) - features.detach()).square().mean(1)
        return z, row_mean(errors) + gaussian_divergence(mean, log_variance)


# The network.


class Branch(nn.Module):
    """One modality: feature, Z, private attributes, generator."""

    def __init__(self, settings: P2VANetSettings, modality: Modality) -> None:
        super().__init__()
        dim, face = settings.dim, modality == "face"
        features = settings.face_features if face else settings.voice_features
        self.extractor = nn.Sequential(
            _trunk(settings, 3 if face else 1, features),
            nn.Flatten(),
            nn.Linear(settings.widths[-1] * settings.map_size**2, dim),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.vae = VariationalAutoEncoder(dim) if getattr(settings, f"{modality}_vae") else None
        self.hidden_share = settings.hidden_share
        self.tokens = self.transformer = None
        if settings.private:
            values = settings.face_attributes if face else settings.voice_attributes
            tokens = settings.face_tokens if face else settings.voice_tokens
            self.tokens = AttributeTokens(values, tokens, dim)
            self.transformer = CrossTransformer(dim, settings.heads)
        self.generator = nn.Sequential(  # G_a or G_v
            nn.Linear(dim, dim),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
            nn.Linear(dim, dim),
            nn.BatchNorm1d(dim),
        )

    def forward(self, inputs: Tensor, private: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return unit vectors (B, dim), and the loss of reconstruction."""
        z = self.extractor(inputs)
        loss = z.new_zeros(())
        if self.vae is not None:
            z, loss = self.vae(z)
        if self.tokens is not None and self.transformer is not None:
            z = self.transformer(z, self.tokens(self._hide(private), len(z)))
        return functional.normalize(self.generator(z).float()), loss

    def _hide(self, private: Tensor | None) -> Tensor | None:
        if private is None or not self.training:
            return private
        hidden = torch.rand(len(private), 1, device=private.device) < self.hidden_share
        return private.masked_fill(hidden, math.nan)


def _trunk(settings: P2VANetSettings, channels: int, features: tuple[int, ...]) -> nn.Module:
    """Return the trunk of pictures (B, channels, H, W), or of frozen features, to maps."""
    size = (settings.map_size, settings.map_size)
    if features:
        return FrozenFeatures(features, (settings.widths[-1], *size))
    return Conv5(channels, settings.widths, size)


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedAttributes:
    """The inputs of the losses for a batch."""

    faces: Tensor  # (n, dim) unit vectors
    voices: Tensor  # (m, dim)
    reconstruction: Tensor  # L_rec


class P2VANet(nn.Module):
    """Both branches, the discriminator, and the classifiers."""

    Settings = P2VANetSettings

    def __init__(self, settings: P2VANetSettings) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.dim
        self.spectrogram = Spectrogram()
        self.face, self.voice = Branch(settings, "face"), Branch(settings, "voice")
        self.discriminator = nn.Sequential(
            nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, 2)
        )
        self.head = MatchingHead(dim)  # C_M
        # "Including a single softmax layer".
        self.gender = nn.Linear(dim, settings.genders) if settings.gender else None
        self.nationality = nn.Linear(dim, settings.nationalities) if settings.nationality else None

    # Embedding.

    def embed_face(self, inputs: Tensor, private: Tensor | None = None) -> Tensor:
        """Return unit vectors (B, dim) of faces (B, 3, size, size) uint8, or frozen features.

        ``private`` are attributes (B, face_attributes), NaN where unknown.
        """
        return self._face(inputs, private)[0]

    def embed_voice(self, inputs: Tensor, private: Tensor | None = None) -> Tensor:
        """Return unit vectors (B, dim) of voices (B, samples) at 16 kHz, or frozen features.

        ``private`` are attributes (B, voice_attributes), NaN where unknown.
        """
        return self._voice(inputs, private)[0]

    def match(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        """Return logits (n, k) that candidates (n, k, dim) match their anchors (n, dim)."""
        logits: Tensor = self.head(anchors, candidates)
        return logits

    def _face(self, inputs: Tensor, private: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.settings.face_features:
            inputs = scale_pixels(inputs)
        vectors, loss = self.face(inputs, private)
        return vectors, loss

    def _voice(self, inputs: Tensor, private: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.settings.voice_features:
            inputs = self.spectrogram(inputs)
        vectors, loss = self.voice(inputs, private)
        return vectors, loss

    # Training.

    def encode(self, batch: Batch) -> EncodedAttributes:
        """Return embeddings of a batch, and L_rec."""
        faces, face_loss = self._face(batch.faces.inputs, batch.faces.private)
        voices, voice_loss = self._voice(batch.voices.inputs, batch.voices.private)
        return EncodedAttributes(faces, voices, face_loss + voice_loss)

    def discriminator_loss(self, encoded: EncodedAttributes) -> Tensor:
        """Return the discriminator's loss, Eq. 5; no gradient reaches the generators."""
        return self._modality_loss(encoded.faces.detach(), encoded.voices.detach())

    def loss_terms(
        self, encoded: EncodedAttributes, batch: Batch, stage: Stage
    ) -> dict[str, Tensor]:
        """Return the weighted terms whose sum the generator minimises, Eq. 18."""
        del stage
        values, faces, voices = self.settings, encoded.faces, encoded.voices
        tuples = draw_both_ways(batch.faces.labels, batch.voices.labels, values.candidates)
        anchors, candidates = tuples.of(faces, voices)
        cost = first_cross_entropy(self.match(anchors, candidates))  # Eq. 17
        terms = {
            "metric": lifted_structure(
                values.radius * anchors, values.radius * candidates, margin=values.margin
            ),
            "matching": values.matching_weight * cost,
        }
        if values.face_vae or values.voice_vae:
            terms["reconstruction"] = values.reconstruction_weight * encoded.reconstruction
        if values.adversary:
            terms["adversary"] = -values.adversary_weight * self._modality_loss(faces, voices)
        return terms | self._public_terms(encoded, batch)

    def _public_terms(self, encoded: EncodedAttributes, batch: Batch) -> dict[str, Tensor]:
        """Return Eq. 13-14 with the weights of Eq. 18."""
        sides = ((encoded.faces, batch.faces), (encoded.voices, batch.voices))
        terms = {}
        if self.gender is not None:
            costs = [attribute_cross_entropy(self.gender(h), side.genders) for h, side in sides]
            terms["gender"] = self.settings.gender_weight * torch.stack(costs).sum()
        if self.nationality is not None:
            rarest = self.settings.nationalities - 1
            costs = [
                attribute_cross_entropy(self.nationality(h), side.nationalities.clamp(max=rarest))
                for h, side in sides
            ]
            terms["nationality"] = self.settings.nationality_weight * torch.stack(costs).sum()
        return terms

    def _modality_loss(self, faces: Tensor, voices: Tensor) -> Tensor:
        return modality_cross_entropy(self.discriminator(faces), FACE) + modality_cross_entropy(
            self.discriminator(voices), VOICE
        )

    def schedule(self) -> Schedule:
        """Return the schedule, with batches of 64 (section IV-B)."""
        return Schedule(
            epochs=50,
            batch=64,
            discriminator_every=1 if self.settings.adversary else 0,
            drops=((1 / 2, 0.1), (5 / 6, 0.1)),
        )

    def optimizers(self) -> Optimizers:
        """Return Adam with momentum 0.9, weight decay 5e-4 and the rates of section IV-B."""
        adam = functools.partial(torch.optim.Adam, betas=(0.9, 0.999), weight_decay=5e-4)
        values = self.settings
        parts = [
            (nn.ModuleList([self.face, self.voice]), values.rate),
            (self.head, values.gender_rate),
            (self.gender, values.gender_rate),
            (self.nationality, values.nationality_rate),
        ]
        groups: list[dict[str, Any]] = [
            {"params": list(part.parameters()), "lr": rate}
            for part, rate in parts
            if part is not None
        ]
        return Optimizers(
            adam(groups), adam(self.discriminator.parameters(), lr=values.critic_rate)
        )
