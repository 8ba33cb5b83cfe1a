"""AICANet: adaptive interaction and correction attention (Wang et al., 2025).

Adaptive Interaction and Correction Attention Network for Audio-Visual Matching.

The maps of a face and of a voice attend to each other in two orders. The attention is turned
towards or away from the other map by the predicted relevance of the two (interaction, AIA,
Eq. 1-8), and is cut at a learned threshold (correction, ACA, Eq. 9-11). The result enters the
baseline of :mod:`avsearch.models.papers.pair_baseline`, whose docstring has further decisions. It
is trained by a metric that stretches relative distances (Eq. 14-15). With the interaction between
modalities the model re-ranks; with the attention of a map to itself alone, it can be indexed.

Decisions that the paper leaves open, and departures from it:

- Eq. 3 as printed correlates a map with itself. That is E of Intra; E of Inter is between the
  positions of both maps. Both use deviations from the map's mean, at unit length, so the threshold
  is in (0, 1), as the text says; nothing is normalised over the batch. Without the subtraction of
  the mean, a map that is positive after ReLU has only large correlations. Eq. 10 would make them
  all equal, and the instance normalisation would remove the uniform attention.
- The values of Eq. 6 are the map's own, as printed, though the weights are for the positions of
  the other one.
- Eq. 7 uses the same positions, and times delta as Eq. 6: else its weights are nearly equal.
- The compact bilinear pooling of Eq. 1 is over the mean positions of both maps: the positions of a
  face and of a voice do not correspond.
- GAP of Eq. 9 is of absolute values, so that no threshold is negative. Each modality has a filter
  for each kind of attention.
- Eq. 10 clamps, as printed: values above the threshold become the threshold.
  ``correction="zero"`` instead removes values below it, as in denoising.
- The masks of Eq. 8 start near zero: at one half each, nothing would be left of the map itself.
- The anchor's residual of Eq. 13 is the voice less the face in both directions.
- Without the stretching metric, the contrast of ACIENet (Eq. 21-22 there) takes its place, as in
  Table X.
- Section IV-E gives alpha = 2 and 3. It gives gamma only as smaller for V-F and larger for F-V,
  here 1 and 3, and no beta, here 1.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from avsearch.models.layers.batch import Batch
from avsearch.models.layers.interaction import CompactBilinear, Gate, attend, unit_positions
from avsearch.models.layers.losses import contrast, relative_distance_stretching
from avsearch.models.layers.trainable import Schedule, Stage
from avsearch.models.papers.pair_baseline import EncodedPairs, Meeting, PairNetwork, PairSettings
from indexer.types import Modality

Correction = Literal["clamp", "zero", "none"]
_MASK_START = -2.0  # of the gates' last layer: masks of about 0.12


@dataclasses.dataclass(frozen=True, slots=True)
class AICANetSettings(PairSettings):
    """Everything that shapes an AICANet model or its loss; ``interaction`` is AIA."""

    voice_asks: tuple[float, float, float] = (1.0, 2.0, 1.0)  # gamma, alpha, beta of V-F
    face_asks: tuple[float, float, float] = (3.0, 3.0, 1.0)  # of F-V
    correction: Correction = "clamp"  # ACA
    stretching: bool = True  # RDSM
    delta: float = 10.0  # makes attention sparse, Eq. 6
    mu1: float = 10.0  # Eq. 15
    mu2: float = 4.0

    def __post_init__(self) -> None:
        PairSettings.__post_init__(self)
        if self.correction not in get_args(Correction):
            raise ValueError(f"no correction is {self.correction!r}; take clamp, zero or none.")


class Threshold(nn.Module):
    """Correction of a correlation matrix by a threshold computed from it, Eq. 9-10."""

    def __init__(self, positions: int, correction: Correction) -> None:
        super().__init__()
        self.correction = correction
        self.layers = nn.Sequential(
            nn.Linear(2 * positions, positions), nn.ReLU(), nn.Linear(positions, 1), nn.Sigmoid()
        )

    def epsilon(self, matrices: Tensor) -> Tensor:
        """Return thresholds (p, 1, 1) of correlations (p, n, n), Eq. 9."""
        maxima = torch.cat([matrices.amax(1), matrices.amax(2)], 1)
        thresholds: Tensor = self.layers(maxima) * matrices.abs().mean((1, 2))[:, None]
        return thresholds[:, :, None]

    def forward(self, matrices: Tensor) -> Tensor:
        """Return corrected correlations (p, n, n)."""
        epsilon = self.epsilon(matrices)
        if self.correction == "clamp":
            return torch.clamp(matrices, -epsilon, epsilon)
        # A soft threshold, for a step would give the filter no gradient.
        return matrices.sign() * torch.relu(matrices.abs() - epsilon)


class Attention(nn.Module):
    """The attention of one modality's maps to themselves and to the other's, Eq. 3-11."""

    def __init__(self, settings: AICANetSettings) -> None:
        super().__init__()
        channels, height, width = settings.map_shape
        self.delta = settings.delta
        self.intra_gate = Gate(channels, bias=_MASK_START)
        self.inter_gate = Gate(channels, bias=_MASK_START)
        self.intra_norm = nn.InstanceNorm2d(channels, affine=True)
        self.inter_norm = nn.InstanceNorm2d(channels, affine=True)
        if settings.correction == "none":
            self.intra_filter: nn.Module = nn.Identity()
            self.inter_filter: nn.Module = nn.Identity()
        else:
            self.intra_filter = Threshold(height * width, settings.correction)
            self.inter_filter = Threshold(height * width, settings.correction)

    def intra(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return masked attention of maps (B, C, h, w) to themselves, and masks (B, C, 1, 1)."""
        own = _deviations(maps)
        correlations = self.intra_filter(own @ own.transpose(1, 2))  # Eq. 3
        attended = attend(torch.softmax(self.delta * correlations, 2), maps)  # Eq. 11
        mask: Tensor = self.intra_gate(attended)
        return mask * self.intra_norm(attended), mask

    def inter(self, maps: Tensor, others: Tensor, relevances: Tensor) -> tuple[Tensor, Tensor]:
        """Return the masked attention of maps (p, C, h, w) to others, and masks (p, C, 1, 1)."""
        own = _deviations(maps)
        correlations = self.inter_filter(own @ _deviations(others).transpose(1, 2))
        guided = torch.sign(relevances)[:, None, None] * correlations  # Eq. 4, 5 and 10
        first = attend(torch.softmax(self.delta * guided, 2), maps)  # Eq. 6
        support = own @ _deviations(first).transpose(1, 2)
        second = attend(torch.softmax(self.delta * support, 2), maps)  # Eq. 7
        mask: Tensor = self.inter_gate(second)
        return mask * self.inter_norm(second), mask


class AICANet(PairNetwork):
    """The baseline with adaptive interaction and correction attention."""

    Settings = AICANetSettings
    settings: AICANetSettings

    def __init__(self, settings: AICANetSettings) -> None:
        super().__init__(settings)
        if settings.interaction:
            self.face_attention = Attention(settings)
            self.voice_attention = Attention(settings)
            self.pooling = CompactBilinear(settings.map_shape[0], settings.compact)
            self.relevance = nn.Linear(settings.compact, 1)

    def apart(self, maps: Tensor, modality: Modality) -> Tensor:
        """Return Eq. 8 without the other modality's part."""
        if not self.settings.interaction:
            return maps
        attention = self.face_attention if modality == "face" else self.voice_attention
        taken, mask = attention.intra(maps)
        return (1 - mask) * maps + taken

    def meet(self, faces: Tensor, voices: Tensor) -> Meeting:
        """Return Eq. 8 of both maps, with the relevance of Eq. 1."""
        pooled = self.pooling(voices.mean((2, 3)), faces.mean((2, 3)))
        relevances = self.relevance(pooled).squeeze(1)  # Eq. 1
        return Meeting(
            _fused(self.face_attention, faces, voices, relevances),
            _fused(self.voice_attention, voices, faces, relevances),
            relevances,
        )

    def metric(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        """Return the metric of Eq. 14-15, or the contrast of ACIENet."""
        settings = self.settings
        if not settings.stretching:
            return contrast(anchors, candidates, theta=settings.theta)
        return relative_distance_stretching(
            anchors, candidates, theta=settings.theta, mu1=settings.mu1, mu2=settings.mu2
        )

    def residuals(self, faces: Tensor, voices: Tensor) -> Tensor:
        """Return the residuals of Eq. 13."""
        return torch.exp(voices - faces)

    def schedule(self) -> Schedule:
        """Return the schedule of Table I."""
        return Schedule(epochs=50, batch=50, drops=((0.5, 0.1), (0.8, 0.1)))

    def loss_terms(self, encoded: EncodedPairs, batch: Batch, stage: Stage) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the weighted terms of Eq. 16; the alignment is L_Rel, Eq. 2."""
        return self.pair_terms(encoded, stage)


def _fused(attention: Attention, maps: Tensor, others: Tensor, relevances: Tensor) -> Tensor:
    """Return Eq. 8."""
    intra, intra_mask = attention.intra(maps)
    inter, inter_mask = attention.inter(maps, others, relevances)
    return (1 - (inter_mask + intra_mask)) * maps + inter + intra


def _deviations(maps: Tensor) -> Tensor:
    """Return deviations of positions from their mean, (B, h * w, C), of unit length."""
    return unit_positions(maps - maps.mean((2, 3), keepdim=True))
