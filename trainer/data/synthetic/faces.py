"""The faces of the synthetic world: from an identity to the traits of a face.

A `FaceShape` belongs to the person, a `Moment` to one image.
Lengths are in units of half the image, x to the right, y down, with (0, 0) just below the
eyes of a face that looks straight ahead.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Gender = Literal["f", "m"]
Colour = tuple[int, int, int]
Range = tuple[float, float]

# Each trait with the range it covers in women and in men. The traits take the identity's
# components in turn, so the first of them, which are geometry, show one component each.
TRAIT_RANGES: dict[str, dict[Gender, Range]] = {
    "width": {"f": (0.37, 0.53), "m": (0.40, 0.57)},
    "chin": {"f": (0.50, 0.68), "m": (0.54, 0.74)},
    "eye_spacing": {"f": (0.150, 0.235), "m": (0.150, 0.235)},
    "eye_size": {"f": (0.068, 0.120), "m": (0.056, 0.102)},
    "nose_length": {"f": (0.11, 0.26), "m": (0.13, 0.29)},
    "mouth_width": {"f": (0.095, 0.20), "m": (0.105, 0.22)},
    "hair_tone": {"f": (0.0, 1.0), "m": (0.0, 1.0)},
    "jaw": {"f": (1.15, 0.85), "m": (0.92, 0.58)},  # exponent of the outline; less is squarer
    "brow_weight": {"f": (0.014, 0.030), "m": (0.030, 0.058)},
    "skin_tone": {"f": (0.0, 1.0), "m": (0.0, 1.0)},
    "hair_length": {"f": (0.05, 1.15), "m": (-0.35, 0.20)},  # y where the hair ends
    "eye_tone": {"f": (0.0, 1.0), "m": (0.0, 1.0)},
    "hairline": {"f": (0.62, 0.44), "m": (0.70, 0.42)},  # share of the way up to the crown
    "lips": {"f": (0.030, 0.062), "m": (0.018, 0.042)},
    "curl": {"f": (-0.03, 0.05), "m": (-0.03, 0.04)},  # none below zero
    "parting": {"f": (-0.75, 0.75), "m": (-0.75, 0.75)},
    "nose_width": {"f": (0.045, 0.080), "m": (0.055, 0.100)},
    "glasses": {"f": (0.0, 1.0), "m": (0.0, 1.0)},  # worn above WEARS_GLASSES
    "brow_height": {"f": (0.05, 0.10), "m": (0.03, 0.07)},
    "beard": {"f": (0.0, 0.0), "m": (-1.0, 1.0)},  # none below zero
}
WEARS_GLASSES = 0.78


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """The clothes and the ranges of skin and hair tones of a country."""

    cloth: Colour
    trim: Colour
    pattern: Literal["stripes", "dots", "chevrons", "collar"]
    skin: Range
    hair: Range


LOOKS = (
    Look((58, 96, 148), (238, 226, 196), "stripes", (0.35, 1.0), (0.15, 1.0)),
    Look((176, 62, 58), (250, 214, 120), "dots", (0.15, 0.8), (0.0, 0.75)),
    Look((66, 128, 92), (226, 240, 206), "chevrons", (0.0, 0.7), (0.0, 0.6)),
    Look((124, 84, 150), (240, 200, 222), "collar", (0.25, 0.95), (0.1, 0.9)),
    Look((222, 158, 64), (92, 58, 40), "stripes", (0.1, 0.75), (0.0, 0.7)),
    Look((64, 140, 150), (246, 240, 232), "dots", (0.3, 1.0), (0.2, 1.0)),
)


@dataclasses.dataclass(frozen=True, slots=True)
class FaceShape:
    """The traits of a person's face, each a monotone function of a component."""

    width: float
    chin: float
    eye_spacing: float
    eye_size: float
    nose_length: float
    mouth_width: float
    hair_tone: float
    jaw: float
    brow_weight: float
    skin_tone: float
    hair_length: float
    eye_tone: float
    hairline: float
    lips: float
    curl: float
    parting: float
    nose_width: float
    glasses: float
    brow_height: float
    beard: float


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """The pose, expression, light and background of one image."""

    yaw: float  # -1 .. 1, to the right of the image
    roll: float  # radians
    scale: float
    shift: tuple[float, float]
    smile: float  # -0.3 .. 1
    mouth_open: float  # 0 .. 1
    eyes_open: float  # 0.6 .. 1
    gaze: tuple[float, float]  # -1 .. 1 each
    brow_lift: float
    backdrop: tuple[Colour, Colour]  # above and below
    light: tuple[float, float, float]  # gradient along x and y, brightness
    warmth: float


def spread(bounds: Range, component: float) -> float:
    """Map a standard normal component to a uniform value of a range, rising from its first end."""
    share = 0.5 * (1.0 + math.erf(component / math.sqrt(2.0)))
    return bounds[0] + (bounds[1] - bounds[0]) * share


def face_shape(components: Sequence[float], gender: Gender, country: int) -> FaceShape:
    """Return the face of an identity; the traits take its components in turn."""
    look = LOOKS[country]
    traits = {
        name: spread(bounds[gender], components[position % len(components)])
        for position, (name, bounds) in enumerate(TRAIT_RANGES.items())
    }
    traits["skin_tone"] = _lerp(look.skin, traits["skin_tone"])
    traits["hair_tone"] = _lerp(look.hair, traits["hair_tone"])
    return FaceShape(**traits)


def pick_moment(rng: np.random.Generator) -> Moment:
    """Draw the pose, expression, light and background of one image."""
    hue = rng.uniform(0.0, 2.0 * math.pi)
    level = rng.uniform(120.0, 225.0)
    return Moment(
        yaw=rng.uniform(-1.0, 1.0),
        roll=rng.normal(0.0, 0.06),
        scale=rng.uniform(1.10, 1.26),
        shift=(rng.normal(0.0, 0.03), rng.normal(0.07, 0.025)),
        smile=rng.uniform(-0.3, 1.0),
        mouth_open=max(0.0, rng.uniform(-0.8, 1.0)),
        eyes_open=rng.uniform(0.68, 1.0),
        gaze=(rng.uniform(-1.0, 1.0), rng.uniform(-0.6, 0.6)),
        brow_lift=rng.uniform(-0.015, 0.03),
        backdrop=(_pastel(hue, level), _pastel(hue + 0.6, level * 0.8)),
        light=(rng.uniform(-0.22, 0.22), rng.uniform(-0.12, 0.12), rng.uniform(0.82, 1.1)),
        warmth=rng.uniform(-0.05, 0.05),
    )


def _lerp(bounds: Range, share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _pastel(hue: float, level: float) -> Colour:
    """A pastel colour of a hue in radians and a level of 0 to 255."""
    waves = [level + 28.0 * math.cos(hue - turn * 2.0 * math.pi / 3.0) for turn in range(3)]
    red, green, blue = (round(min(255.0, max(0.0, wave))) for wave in waves)
    return red, green, blue
