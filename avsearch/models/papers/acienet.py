"""ACIENet: attribute-guided interaction and enhancement (Wang et al., IEEE TIFS 2024).

Attribute-guided Cross-modal Interaction and Enhancement for Audio-Visual Matching,
https://doi.org/10.1109/TIFS.2024.3388949.

The maps of a face and of a voice attend to each other, guided by their predicted similarity
(interaction, AGI, Eq. 1-13), and each is enhanced in the channels of gender and nationality
(enhancement, AGE, Eq. 14-18). The sum of both enters the baseline of
:mod:`avsearch.models.papers.pair_baseline`, whose docstring has further decisions. With the
interaction the model re-ranks; without it, a map and its enhancement can be indexed.

Decisions that the paper leaves open, and departures from it:

- Norm of Eq. 1-2 is over the channels of a position, never over the batch.
- The attention of Eq. 3-4 mixes the positions of a map with weights for the positions of the
  other one, as printed: the values are the map's own.
- The compact bilinear pooling of Eq. 5 is over the mean positions of both maps, "global feature
  alignment similarity": the positions of a face and of a voice do not correspond. Its range needs
  a tanh.
- l * P in Eq. 12 is one for the match and zero for the others.
- T of Eq. 14-15 is the mean over positions, as in SENet. The softmax of Eq. 17-18 is times the
  number of channels, so that its mean weight is one: as printed, what is added would be a
  five-hundredth of the rest.
- The six classes of Eq. 16 are the two genders times the two most frequent nationalities (USA and
  UK in VoxCeleb1) and all others. If one of both is unknown, the other is still used.
- The weights of Eq. 23 are those of section IV-E; that of the attributes is 1 both ways.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from avsearch.models.layers.batch import Batch, BatchSide
from avsearch.models.layers.interaction import CompactBilinear, Gate, attend, unit_positions
from avsearch.models.layers.losses import contrast, joint_attribute
from avsearch.models.layers.trainable import Schedule, Stage
from avsearch.models.papers.pair_baseline import EncodedPairs, Meeting, PairNetwork, PairSettings
from indexer.types import Modality


@dataclasses.dataclass(frozen=True, slots=True)
class ACIENetSettings(PairSettings):
    """Everything that shapes an ACIENet model or its loss; ``interaction`` is AGI."""

    voice_asks: tuple[float, float, float] = (3.0, 1.0, 2.0)  # alpha, beta, gamma of V-F
    face_asks: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of F-V
    enhancement: bool = True  # AGE
    keys: int = 128  # channels of the compressed maps, Eq. 1-2
    genders: int = 2
    nations: int = 3  # the last one is for all others
    attribute: float = 1.0  # lambda


class Interaction(nn.Module):
    """The interaction of a map with the other modality's: one modality's modules of Eq. 1-11."""

    def __init__(self, channels: int, keys: int) -> None:
        super().__init__()
        self.compress = nn.Conv2d(channels, keys, 1)  # conv1 and conv2
        self.decompress = nn.Conv2d(channels + 1, channels, 1)  # conv3 and conv4
        self.norm = nn.InstanceNorm2d(channels, affine=True)
        self.gate = Gate(channels)

    def keys(self, maps: Tensor) -> Tensor:
        """Return unit keys (p, h * w, keys) of maps (p, C, h, w), Eq. 1-2."""
        compressed: Tensor = self.compress(maps)
        return unit_positions(compressed)

    def forward(self, maps: Tensor, own: Tensor, other: Tensor, similarities: Tensor) -> Tensor:
        """Return fused maps (p, C, h, w).

        Args:
            maps: (p, C, h, w).
            own: Keys of the maps, (p, h * w, keys).
            other: Keys of the other modality's maps, (p, h * w, keys).
            similarities: (p,).
        """
        weights = torch.softmax(own @ other.transpose(1, 2), 2)
        attended = attend(weights, maps)  # Eq. 3-4
        guide = similarities[:, None, None, None].expand_as(attended[:, :1])
        met = self.decompress(torch.cat([guide, attended], 1))  # Eq. 6-7
        mask = self.gate(met)  # Eq. 10-11
        fused: Tensor = mask * maps + (1 - mask) * self.norm(met)  # Eq. 8-9
        return fused


class Enhancement(nn.Module):
    """A map's attribute code and its channel weights, Eq. 14-15 and 17-18."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.size = max(8, channels // reduction)
        self.encoder = nn.Sequential(nn.Linear(channels, self.size), nn.ReLU())
        self.decoder = nn.Linear(self.size, channels)

    def code(self, maps: Tensor) -> Tensor:
        """Return codes (B, size) of maps (B, C, h, w), Eq. 14-15."""
        coded: Tensor = self.encoder(maps.flatten(2).mean(2))
        return coded

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, h, w) with weighted channels, Eq. 17-18."""
        weights = torch.softmax(self.decoder(self.code(maps)), 1) * maps.shape[1]
        return weights[:, :, None, None] * maps


class ACIENet(PairNetwork):
    """The baseline with attribute-guided interaction and enhancement."""

    Settings = ACIENetSettings
    settings: ACIENetSettings

    def __init__(self, settings: ACIENetSettings) -> None:
        super().__init__(settings)
        channels = settings.map_shape[0]
        if settings.interaction:
            self.face_interaction = Interaction(channels, settings.keys)
            self.voice_interaction = Interaction(channels, settings.keys)
            self.pooling = CompactBilinear(settings.keys, settings.compact)
            self.similarity = nn.Linear(settings.compact, 1)
        if settings.enhancement:
            self.face_enhancement = Enhancement(channels)
            self.voice_enhancement = Enhancement(channels)
            classes = settings.genders * settings.nations
            self.attributes = nn.Linear(self.face_enhancement.size, classes)  # C_att

    def apart(self, maps: Tensor, modality: Modality) -> Tensor:
        """Return the sum of maps and their enhancement."""
        return self._enhanced(maps, maps, modality)

    def meet(self, faces: Tensor, voices: Tensor) -> Meeting:
        """Return each map after its interaction with the other, plus its enhancement."""
        face, voice = self.face_interaction, self.voice_interaction
        face_keys, voice_keys = face.keys(faces), voice.keys(voices)
        pooled = self.pooling(voice_keys.mean(1), face_keys.mean(1))
        similarities = torch.tanh(self.similarity(pooled)).squeeze(1)  # Eq. 5
        met_faces = face(faces, face_keys, voice_keys, similarities)
        met_voices = voice(voices, voice_keys, face_keys, similarities)
        return Meeting(
            self._enhanced(met_faces, faces, "face"),
            self._enhanced(met_voices, voices, "voice"),
            similarities,
        )

    def metric(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        """Return the metric of Eq. 21-22."""
        return contrast(anchors, candidates, theta=self.settings.theta)

    def residuals(self, faces: Tensor, voices: Tensor) -> Tensor:
        """Return the residuals of Eq. 20."""
        return voices - faces

    def schedule(self) -> Schedule:
        """Return the schedule of section IV-A; the epochs are AICANet's, the paper gives none."""
        return Schedule(epochs=50, batch=50, drops=((0.4, 0.1), (0.7, 0.1)))  # 20th, 35th epoch

    def loss_terms(self, encoded: EncodedPairs, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return the weighted terms of Eq. 23."""
        terms = self.pair_terms(encoded, stage)
        if self.settings.enhancement:
            cost = self._attribute_loss(encoded.face_maps, batch.faces, "face")
            cost = cost + self._attribute_loss(encoded.voice_maps, batch.voices, "voice")
            terms["attribute"] = self.settings.attribute * cost
        return terms

    def _enhanced(self, maps: Tensor, original: Tensor, modality: Modality) -> Tensor:
        """Return maps plus the enhancement of the original ones."""
        if not self.settings.enhancement:
            return maps
        enhanced: Tensor = self._enhancement(modality)(original)
        return maps + enhanced

    def _enhancement(self, modality: Modality) -> Enhancement:
        return self.face_enhancement if modality == "face" else self.voice_enhancement

    def _attribute_loss(self, maps: Tensor, side: BatchSide, modality: Modality) -> Tensor:
        """Return Eq. 16 for one side."""
        settings = self.settings
        logits = self.attributes(self._enhancement(modality).code(maps))
        shares = torch.log_softmax(logits.float(), 1)
        return joint_attribute(
            shares.reshape(-1, settings.genders, settings.nations),
            side.genders,
            side.nationalities.clamp_max(settings.nations - 1),
        )
