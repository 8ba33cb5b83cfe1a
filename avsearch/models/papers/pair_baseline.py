"""The common baseline of ACIENet and AICANet, to which each paper adds its modules.

Two trunks compute a map of a face and of a voice. A generator turns maps into vectors whose
modality a discriminator cannot tell. A matching head scores pairs by the residual of their vectors
(ACIENet Eq. 19-20, AICANet Eq. 12-13). A paper defines the map of a single item, which can be
indexed, and the interaction of the two maps of a pair, which re-ranks.

Decisions that the papers leave open, and departures from them:

- In the papers an anchor interacts with k candidates and yet has one vector, and the matching head
  takes the residuals of all k at once. Here every pair is computed alone, the anchor once for each
  candidate, and the head scores one residual at a time. The softmax over k of these scores is the
  papers' loss, and no score depends on the other candidates, their number or their order. The
  score of a residual also has its length with a learned weight: a layer over signed differences
  would have to learn the distance, and it generalises less to new people.
- The residual is always the voice less the face, so a pair has one score in both directions.
- One model is trained for both directions, V-F and F-V, each with its weights.
- Vectors have unit length, as theta = 1.2 suggests and an index needs. A single item passes the
  same generator and is trained by the same losses, with the weight ``alone``; the papers have no
  embedding path. Batch normalisation, one for each modality, precedes the generator: the maps are
  all positive and point in nearly one direction.
- The signs of the minimax game are open: the discriminator minimises its cross-entropy, with equal
  weight for both modalities; the generator minimises that of the other modality's label, which is
  bounded.
- The maps of the voice: three convolutions of stride (1, 3) over the log-mels, then the four
  stages of SE-ResNet-34 without its own stem.
- The printed rates, 5e-2 and 5e-3, are large for Adam: a tenth of them learns better. ``rate``
  multiplies all of them; 1 gives the papers'.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.layers.backbones import FrozenFeatures, resnet18, se_resnet34
from avsearch.models.layers.batch import Batch
from avsearch.models.layers.frontends import LogMels, scale_pixels
from avsearch.models.layers.losses import identity_alignment, modality_cross_entropy, pair_distances
from avsearch.models.layers.trainable import Optimizers, Stage
from avsearch.models.layers.tuples import Tuples, draw_both_ways
from indexer.types import MODALITIES, Modality

FACE, VOICE = 0, 1  # the classes of the discriminator
FEATURE_RATE, MODULE_RATE, MATCHER_RATE = 5e-2, 5e-3, 5e-2  # of the papers


@dataclasses.dataclass(frozen=True, slots=True)
class PairSettings:
    """Settings of both papers' models and losses."""

    dim: int = 128  # values of an embedding
    hidden: int = 256  # of the generator
    face_size: int = 224  # pixels a side
    voice_seconds: float = 10.0  # 160,000 samples
    mels: int = 40
    width: int = 64  # channels of the trunks' first stage; a map has eight times as many
    map_size: int = 3  # positions a side
    face_features: tuple[int, ...] = ()  # shape of frozen features; empty: pictures
    voice_features: tuple[int, ...] = ()  # the same; empty: waveforms
    compact: int = 4096  # dimensions of compact bilinear pooling
    candidates: int = 2  # k of a training tuple
    temperature: float = 5.0  # tau of the identity alignment
    theta: float = 1.2  # margin of the metric
    # Weights of identity alignment, metric and matching, for a voice and for a face as the anchor.
    voice_asks: tuple[float, float, float] = (1.0, 1.0, 1.0)
    face_asks: tuple[float, float, float] = (1.0, 1.0, 1.0)
    adversary: float = 1.0  # weight of the minimax game for the generator
    alone: float = 1.0  # weight of the losses of vectors on their own; not in the papers
    interaction: bool = True  # AGI of ACIENet, AIA of AICANet
    rate: float = 0.1  # all learning rates, as a multiple of the papers'

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise ValueError("of the candidates one is the match; take at least 2.")

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """Return settings for training on a laptop's CPU."""
        small = {"face_size": 96, "voice_seconds": 4.0, "width": 16, "compact": 1024}
        return cls(**{**small, **changes})

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a map."""
        return 8 * self.width, self.map_size, self.map_size


@dataclasses.dataclass(frozen=True, slots=True)
class Meeting:
    """The maps of p pairs after their interaction."""

    faces: Tensor  # (p, C, h, w)
    voices: Tensor  # (p, C, h, w)
    similarities: Tensor  # (p,), predicted: positive for one person


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """M tuples of k pairs, as rows of a batch's faces and voices; the first pair is the match."""

    anchor: Modality
    face_rows: Tensor  # (M, k) int64
    voice_rows: Tensor  # (M, k) int64


@dataclasses.dataclass(frozen=True, slots=True)
class Matched:
    """The vectors of tuples."""

    drawn: Drawn
    faces: Tensor  # (M, k, dim)
    voices: Tensor  # (M, k, dim)
    similarities: Tensor | None  # (M, k); None without interaction


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedPairs:
    """The inputs of both losses for a batch."""

    face_maps: Tensor  # (n, C, h, w)
    voice_maps: Tensor  # (m, C, h, w)
    faces: Tensor  # (n + p, dim): alone, then of the pairs
    voices: Tensor  # (m + p, dim)
    matched: list[Matched]


def face_trunk(settings: PairSettings) -> nn.Module:
    """Return ResNet-18 over pictures, or its replacement, pooled to one size."""
    if settings.face_features:
        return FrozenFeatures(settings.face_features, settings.map_shape)
    return nn.Sequential(resnet18(width=settings.width), nn.AdaptiveAvgPool2d(settings.map_size))


def voice_trunk(settings: PairSettings) -> nn.Module:
    """Return three convolutions and the stages of SE-ResNet-34, pooled to one size."""
    if settings.voice_features:
        return FrozenFeatures(settings.voice_features, settings.map_shape)
    stages = se_resnet34(width=settings.width, reduction=max(1, settings.width // 4))  # 16
    return nn.Sequential(
        LogMels(settings.mels),
        *_front(settings.width),
        stages.layer1,
        stages.layer2,
        stages.layer3,
        stages.layer4,
        nn.AdaptiveAvgPool2d(settings.map_size),
    )


def _front(width: int) -> Iterator[nn.Module]:
    """Yield convolutions that keep the mels and reduce the frames to a 27th."""
    widths = [1, width // 4, width // 2, width]
    for channels_in, channels in itertools.pairwise(widths):
        conv = nn.Conv2d(channels_in, channels, (3, 5), (1, 3), (1, 2), bias=False)
        yield nn.Sequential(conv, nn.BatchNorm2d(channels))
        yield nn.ReLU(inplace=True)


class PairNetwork(nn.Module, abc.ABC):
    """Trunks, generator, discriminator and matching head; a paper adds its modules."""

    def __init__(self, settings: PairSettings) -> None:
        super().__init__()
        self.settings = settings
        values = settings.map_shape[0] * settings.map_size**2  # 4608
        self.face_trunk = face_trunk(settings)
        self.voice_trunk = voice_trunk(settings)
        self.norms = nn.ModuleDict({each: nn.BatchNorm1d(values) for each in MODALITIES})
        self.generator = nn.Sequential(
            nn.Linear(values, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, settings.dim)
        )
        self.discriminator = nn.Sequential(  # D, "a binary classification network"
            nn.Linear(settings.dim, 64), nn.ReLU(), nn.Linear(64, 2)
        )
        self.matcher = nn.Sequential(  # C_m; a bias of all scores would change no loss
            nn.Linear(settings.dim, settings.dim),
            nn.ReLU(),
            nn.Linear(settings.dim, 1, bias=False),
        )
        self.nearness = nn.Parameter(torch.tensor(10.0))  # of a distance, in a score

    # Defined by a paper.

    @abc.abstractmethod
    def apart(self, maps: Tensor, modality: Modality) -> Tensor:
        """Return the maps of single items of one modality, the same shape as (B, C, h, w)."""

    @abc.abstractmethod
    def meet(self, faces: Tensor, voices: Tensor) -> Meeting:
        """Return the interaction of maps (p, C, h, w) of faces and of voices, each pair alone."""

    @abc.abstractmethod
    def metric(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        """Return the metric loss of anchors and candidates (M, k, dim), the match first."""

    @abc.abstractmethod
    def residuals(self, faces: Tensor, voices: Tensor) -> Tensor:
        """Return the input of the matching head, (..., dim), of the vectors of pairs."""

    # Embedding and re-ranking.

    def feature_map_face(self, faces: Tensor) -> Tensor:
        """Return maps (B, C, h, w) of faces (B, 3, size, size) uint8, or of frozen features."""
        inputs = faces if self.settings.face_features else scale_pixels(faces)
        maps: Tensor = self.face_trunk(inputs)
        return maps

    def feature_map_voice(self, voices: Tensor) -> Tensor:
        """Return maps (B, C, h, w) of voices (B, samples) at 16 kHz, or of frozen features."""
        maps: Tensor = self.voice_trunk(voices)
        return maps

    def embed_face(self, faces: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of faces as in :meth:`feature_map_face`."""
        return self.vectors(self.apart(self.feature_map_face(faces), "face"), "face")

    def embed_voice(self, voices: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of voices as in :meth:`feature_map_voice`."""
        return self.vectors(self.apart(self.feature_map_voice(voices), "voice"), "voice")

    def interact(self, query: Tensor, candidates: Tensor, modality: Modality) -> Tensor:
        """Return scores (k,) of pairs, each alone; larger is nearer.

        Args:
            query: A map (1, C, h, w).
            candidates: Maps (k, C, h, w) of the other modality.
            modality: The query's modality.
        """
        return self._pair_scores(query.expand_as(candidates), candidates, modality)

    def match(self, anchors: Tensor, candidates: Tensor, modality: Modality) -> Tensor:
        """Return logits (n, k) that candidates match their anchors.

        The papers' probabilities are their softmax over k, the only step that depends on the
        other candidates.

        Args:
            anchors: Maps (n, C, h, w).
            candidates: Maps (n, k, C, h, w) of the other modality.
            modality: The anchors' modality.
        """
        queries = anchors[:, None].expand_as(candidates)
        scores = self._pair_scores(queries.flatten(0, 1), candidates.flatten(0, 1), modality)
        return scores.reshape(candidates.shape[:2])

    def _pair_scores(self, queries: Tensor, candidates: Tensor, modality: Modality) -> Tensor:
        """Return scores (p,) of maps (p, C, h, w) of queries and candidates, each pair alone."""
        faces, voices = (queries, candidates) if modality == "face" else (candidates, queries)
        if self.settings.interaction:
            meeting = self.meet(faces, voices)
            faces, voices = meeting.faces, meeting.voices
        else:
            faces, voices = self.apart(faces, "face"), self.apart(voices, "voice")
        return self.scores(self.vectors(faces, "face"), self.vectors(voices, "voice"))

    def vectors(self, maps: Tensor, modality: Modality) -> Tensor:
        """Return modality-free unit vectors (B, dim) of maps (B, C, h, w)."""
        normed = self.norms[modality](maps.flatten(1))
        return functional.normalize(self.generator(normed).float())

    def scores(self, faces: Tensor, voices: Tensor) -> Tensor:
        """Return the matching head's scores (...) of pairs of vectors (..., dim)."""
        logits: Tensor = self.matcher(self.residuals(faces, voices))
        return logits.squeeze(-1) - self.nearness * pair_distances(faces, voices)

    # Training.

    def encode(self, batch: Batch) -> EncodedPairs:
        """Return maps, tuples in both directions, and the vectors of items and of pairs."""
        face_maps = self.feature_map_face(batch.faces.inputs)
        voice_maps = self.feature_map_voice(batch.voices.inputs)
        drawn = list(self._draw(batch))
        met = [self._meet(each, face_maps, voice_maps) for each in self._to_meet(drawn)]
        faces = self._vectors(face_maps, "face", [each.faces for each in met])
        voices = self._vectors(voice_maps, "voice", [each.voices for each in met])
        matched = [
            Matched(each, faces[0][each.face_rows], voices[0][each.voice_rows], None)
            for each in drawn
        ]
        for at, meeting in enumerate(met):
            similarities = meeting.similarities.reshape(drawn[at].face_rows.shape)
            shape = (*similarities.shape, -1)
            rows = faces[at + 1].reshape(shape), voices[at + 1].reshape(shape)
            matched.append(Matched(drawn[at], *rows, similarities))
        return EncodedPairs(face_maps, voice_maps, torch.cat(faces), torch.cat(voices), matched)

    def discriminator_loss(self, encoded: EncodedPairs) -> Tensor:
        """Return the discriminator's loss, ACIENet Eq. 19; no gradient reaches the rest."""
        return self._modality_loss(encoded.faces.detach(), encoded.voices.detach(), FACE, VOICE)

    def pair_terms(self, encoded: EncodedPairs, stage: Stage) -> dict[str, Tensor]:
        """Return the weighted terms of both papers, whose sum the generator minimises."""
        zero = encoded.faces.new_zeros(())
        adversary = self._modality_loss(encoded.faces, encoded.voices, VOICE, FACE)
        terms = {"adversary": self.settings.adversary * adversary}
        terms |= {"alignment": zero, "metric": zero, "matching": zero}
        for matched in encoded.matched:
            for name, cost in self._costs(matched, stage.done).items():
                terms[name] = terms[name] + cost
        return terms

    def optimizers(self) -> Optimizers:
        """Return Adam at the papers' rates times ``rate``."""
        trunks = [*self.face_trunk.parameters(), *self.voice_trunk.parameters()]
        matcher = list(self.matcher.parameters())
        discriminator = list(self.discriminator.parameters())
        others = {id(each) for each in (*trunks, *matcher, *discriminator)}
        rest = [each for each in self.parameters() if id(each) not in others]
        rate = self.settings.rate
        groups = [
            {"params": trunks, "lr": FEATURE_RATE * rate},
            {"params": rest, "lr": MODULE_RATE * rate},
            {"params": matcher, "lr": MATCHER_RATE * rate},
        ]
        return Optimizers(
            torch.optim.Adam(groups, weight_decay=5e-4),
            torch.optim.Adam(discriminator, lr=MODULE_RATE * rate, weight_decay=5e-4),
        )

    def _draw(self, batch: Batch) -> Iterator[Drawn]:
        """The tuples of each direction in which the batch gives any."""
        both = draw_both_ways(batch.faces.labels, batch.voices.labels, self.settings.candidates)
        if len(both.voices_ask):
            yield Drawn("voice", both.voices_ask.candidates, _repeat(both.voices_ask))
        if len(both.faces_ask):
            yield Drawn("face", _repeat(both.faces_ask), both.faces_ask.candidates)

    def _to_meet(self, drawn: list[Drawn]) -> list[Drawn]:
        return drawn if self.settings.interaction else []

    def _meet(self, drawn: Drawn, face_maps: Tensor, voice_maps: Tensor) -> Meeting:
        """The M * k meetings of tuples."""
        return self.meet(
            face_maps[drawn.face_rows.flatten()], voice_maps[drawn.voice_rows.flatten()]
        )

    def _vectors(self, maps: Tensor, modality: Modality, met: list[Tensor]) -> list[Tensor]:
        """Return the vectors of items, then of each interaction; they share their normalisation."""
        sets = [self.apart(maps, modality), *met]
        vectors = self.vectors(torch.cat(sets), modality)
        ends = list(itertools.accumulate(len(each) for each in sets))[:-1]
        return list(torch.tensor_split(vectors, ends))

    def _costs(self, matched: Matched, done: float) -> dict[str, Tensor]:
        """Return the weighted costs of tuples, by the name of their term."""
        settings, voice_anchor = self.settings, matched.drawn.anchor == "voice"
        alignment, metric, matching = settings.voice_asks if voice_anchor else settings.face_asks
        share = settings.alone if matched.similarities is None else 1.0
        vectors = (matched.voices, matched.faces)
        anchors, candidates = vectors if voice_anchor else vectors[::-1]
        scores = self.scores(matched.faces, matched.voices)
        firsts = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
        costs = {
            "metric": share * metric * self.metric(anchors, candidates),
            "matching": share * matching * functional.cross_entropy(scores, firsts),
        }
        if matched.similarities is not None:
            costs["alignment"] = alignment * identity_alignment(
                matched.similarities, done=done, temperature=settings.temperature
            )
        return costs

    def _modality_loss(self, faces: Tensor, voices: Tensor, face: int, voice: int) -> Tensor:
        """Return the discriminator's cross-entropy for these labels of faces and voices."""
        return modality_cross_entropy(self.discriminator(faces), face) + modality_cross_entropy(
            self.discriminator(voices), voice
        )


def _repeat(tuples: Tuples) -> Tensor:
    """Return the anchors once for each of their candidates, (M, k)."""
    return tuples.anchors[:, None].expand_as(tuples.candidates)
