"""Images of the faces of the synthetic world.

A face is a set of smooth polygons, drawn three times too large and then shrunk, so that edges are
soft. Units are those of :mod:`trainer.data.synthetic.faces`; later parts cover earlier ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from trainer.data.synthetic.faces import (
    LOOKS,
    WEARS_GLASSES,
    Colour,
    FaceShape,
    Gender,
    Look,
    Moment,
)

Points = NDArray[np.float64]  # (n, 2)

OVERSAMPLING = 3
TURN = 0.09  # movement of the tip of the nose when the head turns
SHOULDERS = 0.74  # the height where the clothes begin
NECK = 0.7  # the height of the point that the head leans about

# From one end of a tone's range to the other, evenly spaced.
SKIN_TONES = ((104, 66, 46), (150, 100, 70), (193, 140, 104), (224, 178, 142), (244, 208, 182))
HAIR_TONES = ((26, 22, 26), (62, 40, 30), (112, 66, 36), (168, 78, 40), (214, 164, 86))
EYE_TONES = ((62, 38, 24), (122, 82, 38), (84, 122, 70), (66, 120, 168), (128, 150, 168))
WHITE: Colour = (250, 249, 246)
INK: Colour = (36, 28, 32)


def draw_face(
    shape: FaceShape, gender: Gender, country: int, moment: Moment, size: int
) -> Image.Image:
    """Draw an RGB image of ``size`` by ``size`` pixels, without light and noise."""
    sketch = Sketch(moment, size * OVERSAMPLING)
    skin = blend(SKIN_TONES, shape.skin_tone)
    hair = blend(HAIR_TONES, shape.hair_tone)
    _draw_hair_behind(sketch, shape, hair)
    _draw_clothes(sketch, shape, LOOKS[country], skin)
    _draw_head(sketch, shape, skin)
    _draw_beard(sketch, shape, hair)
    _draw_nose(sketch, shape, skin)
    _draw_mouth(sketch, shape, gender, skin, moment)
    for side in (-1, 1):
        _draw_eye(sketch, shape, gender, skin, moment, side)
        _draw_brow(sketch, shape, hair, moment, side)
    _draw_hair_above(sketch, shape, hair)
    if shape.glasses > WEARS_GLASSES:
        _draw_glasses(sketch, shape)
    return sketch.image.reduce(OVERSAMPLING)


def expose(image: Image.Image, moment: Moment, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add light and camera noise to a drawing: (size, size, 3) uint8."""
    pixels = np.asarray(image, dtype=np.float32)
    axis = np.linspace(-1.0, 1.0, len(pixels), dtype=np.float32)
    across, down, level = moment.light
    light = level * (1.0 + across * axis[None, :] + down * axis[:, None])
    tint = np.array([1.0 + moment.warmth, 1.0, 1.0 - moment.warmth], dtype=np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 5))
    lit: NDArray[np.float32] = pixels * light[:, :, None] * tint + noise
    return np.clip(lit, 0, 255).astype(np.uint8)


class Sketch:
    """A canvas with the pose of the head that is drawn on it.

    ``depth`` is the distance of a shape in front of the head's axis: 1 at the tip of the nose, 0
    at the outline of the head, negative behind it. Turning the head moves shapes in front of the
    axis one way, and shapes behind it the other.
    """

    def __init__(self, moment: Moment, size: int) -> None:
        self.image = _backdrop(moment, size)
        self._draw = ImageDraw.Draw(self.image, "RGBA")
        self._moment = moment
        self._half = size / 2

    def fill(
        self, points: Points, colour: Colour, *, depth: float = 0.0, alpha: float = 1.0
    ) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._place(points, depth), fill=(*colour, round(255 * alpha)))

    def stroke(self, points: Points, colour: Colour, width: float, *, depth: float = 0.0) -> None:
        """Draw a line; its width is in units."""
        pixels = max(1, round(width * self._half))
        self._draw.line(self._place(points, depth), fill=colour, width=pixels, joint="curve")

    def _place(self, points: Points, depth: float) -> list[float]:
        """Pixels x, y, x, y, ... of points on the posed head, which leans about its neck."""
        moment = self._moment
        x = points[:, 0] + TURN * moment.yaw * depth
        y = points[:, 1] - NECK
        cos = moment.scale * math.cos(moment.roll)
        sin = moment.scale * math.sin(moment.roll)
        placed = np.empty(points.shape)
        placed[:, 0] = cos * x - sin * y + moment.shift[0] + 1.0
        placed[:, 1] = sin * x + cos * y + moment.shift[1] + 1.0 + NECK
        pixels: list[float] = (placed * self._half).ravel().tolist()
        return pixels


def blend(tones: Sequence[Colour], share: float) -> Colour:
    """Return a colour between evenly spaced tones; 0 is the first, 1 the last."""
    stops = np.linspace(0.0, 1.0, len(tones))
    red, green, blue = (np.interp(share, stops, channel) for channel in zip(*tones, strict=True))
    return round(float(red)), round(float(green)), round(float(blue))


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def _backdrop(moment: Moment, size: int) -> Image.Image:
    """An RGB image with a gradient from the top to the bottom."""
    ramp = np.linspace(0.0, 1.0, size)[:, None]
    above, below = (np.array(colour, dtype=np.float64) for colour in moment.backdrop)
    column = (above + (below - above) * ramp).astype(np.uint8)  # (size, 3)
    return Image.fromarray(np.repeat(column[:, None, :], size, axis=1))


def _ellipse(x: float, y: float, width: float, height: float, count: int = 40) -> Points:
    """An ellipse about (x, y), by its half width and half height."""
    angle = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def _head_outline(shape: FaceShape, margin: float = 0.0) -> Points:
    """The outline of the head, clockwise from its right: (96, 2).

    The skull is an ellipse; below the eyes the exponent ``jaw`` squares or points it.
    """
    angle = np.linspace(0.0, 2.0 * math.pi, 96, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    below = sin > 0
    bulge = np.where(below, np.abs(cos) ** shape.jaw, np.abs(cos)) * np.sign(cos)
    x = (shape.width + margin) * bulge
    y = np.where(below, shape.chin + margin, _crown(shape) + margin) * sin
    return np.stack([x, y], axis=1)


def _crown(shape: FaceShape) -> float:
    """The height of the crown above the origin."""
    return 0.40 + 0.4 * shape.width


def _draw_hair_behind(sketch: Sketch, shape: FaceShape, hair: Colour) -> None:
    """The hair that falls behind the head, down to where it ends."""
    if shape.hair_length <= 0.0:
        return
    width = shape.width + 0.08
    falls = np.linspace(0.0, shape.hair_length, 24)
    flare = width + 0.05 * np.sin(falls * 2.4) + max(shape.curl, 0.0) * np.sin(falls * 26.0)
    right = np.stack([flare, falls], axis=1)
    left = right[::-1] * np.array([-1.0, 1.0])
    over = np.linspace(math.pi, 2.0 * math.pi, 40)
    top = np.stack([width * np.cos(over), (_crown(shape) + 0.06) * np.sin(over)], axis=1)
    sketch.fill(np.concatenate([top, right, left]), _shade(hair, 0.78), depth=-0.5)


def _draw_clothes(sketch: Sketch, shape: FaceShape, look: Look, skin: Colour) -> None:
    """Neck, shoulders and the pattern of the country's clothes."""
    neck = 0.55 * shape.width
    _fill_box(sketch, (-neck, 0.2, neck, 0.95), _shade(skin, 0.80))
    slope = np.linspace(-1.0, 1.0, 40)
    shoulders = np.stack([slope * 1.02, SHOULDERS + 0.34 * np.abs(slope) ** 2.6], axis=1)
    hem = np.array([[1.1, 1.6], [-1.1, 1.6]])
    sketch.fill(np.concatenate([shoulders, hem]), look.cloth, depth=-0.3)
    PATTERNS[look.pattern](sketch, look.trim)
    opening = _ellipse(0.0, SHOULDERS - 0.03, neck * 1.08, 0.09)
    sketch.fill(opening, _shade(skin, 0.86), depth=-0.3)


def _fill_box(
    sketch: Sketch, box: tuple[float, float, float, float], colour: Colour, depth: float = -0.3
) -> None:
    """A filled rectangle by its left, top, right and bottom."""
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    sketch.fill(corners, colour, depth=depth)


def _stripes(sketch: Sketch, trim: Colour) -> None:
    for x in np.arange(-0.75, 0.76, 0.25):
        _fill_box(
            sketch, (x - 0.035, SHOULDERS + 0.03 + 0.34 * abs(x) ** 2.6, x + 0.035, 1.5), trim
        )


def _dots(sketch: Sketch, trim: Colour) -> None:
    for x in np.arange(-0.72, 0.73, 0.18):
        sketch.fill(
            _ellipse(x, SHOULDERS + 0.11 + 0.3 * abs(x) ** 2.6, 0.035, 0.035, 16), trim, depth=-0.3
        )


def _chevrons(sketch: Sketch, trim: Colour) -> None:
    x = np.linspace(-0.9, 0.9, 25)
    zigzag = (
        SHOULDERS + 0.11 + 0.32 * np.abs(x) ** 2.6 + np.where(np.arange(25) % 2 == 0, -0.03, 0.03)
    )
    sketch.stroke(np.stack([x, zigzag], axis=1), trim, 0.035, depth=-0.3)


def _collar(sketch: Sketch, trim: Colour) -> None:
    for side in (-1, 1):
        wing = np.array([[0.05, 0.16], [0.30, -0.06], [0.44, 0.06], [0.22, 0.22]])
        placed = (wing + np.array([0.0, SHOULDERS])) * np.array([side, 1.0])
        sketch.fill(placed, trim, depth=-0.3)


PATTERNS: dict[str, Callable[[Sketch, Colour], None]] = {
    "stripes": _stripes,
    "dots": _dots,
    "chevrons": _chevrons,
    "collar": _collar,
}


def _draw_head(sketch: Sketch, shape: FaceShape, skin: Colour) -> None:
    """Ears, head, the shadow under the chin and a little colour on the cheeks."""
    sketch.fill(_head_outline(shape) + np.array([0.0, 0.05]), _shade(skin, 0.7), alpha=0.5)
    for side in (-1, 1):
        ear = _ellipse(side * (shape.width + 0.01), 0.06, 0.065, 0.105)
        sketch.fill(ear, _shade(skin, 0.90), depth=-0.4)
    sketch.fill(_head_outline(shape), skin)
    for side in (-1, 1):
        cheek = _ellipse(side * shape.width * 0.60, 0.2, 0.10, 0.07)
        sketch.fill(cheek, (222, 92, 84), depth=0.6, alpha=0.16)


def _draw_beard(sketch: Sketch, shape: FaceShape, hair: Colour) -> None:
    """Stubble that grows into a beard: the lower part of the head's outline, darker."""
    if shape.beard <= 0.0:
        return
    outline = _head_outline(shape, margin=0.02 * shape.beard)
    lower = outline[(outline[:, 1] > 0.12)]
    inner = lower[::-1] * np.array([0.80, 0.42]) + np.array([0.0, 0.12])
    sketch.fill(
        np.concatenate([lower, inner]),
        _shade(hair, 0.72),
        depth=0.2,
        alpha=0.25 + 0.6 * shape.beard,
    )


def _draw_nose(sketch: Sketch, shape: FaceShape, skin: Colour) -> None:
    """A bridge in shadow on one side, and the tip with its wings."""
    tip = -0.02 + shape.nose_length
    wide = shape.nose_width
    bridge = np.array([[0.0, -0.04], [wide * 0.9, tip], [0.0, tip + 0.015]])
    sketch.fill(bridge, _shade(skin, 0.78), depth=0.9, alpha=0.8)
    sketch.fill(_ellipse(0.0, tip, wide, 0.042), _shade(skin, 0.87), depth=1.0)
    for side in (-1, 1):
        nostril = _ellipse(side * wide * 0.5, tip + 0.020, 0.016, 0.011, 16)
        sketch.fill(nostril, _shade(skin, 0.55), depth=1.0)


def _draw_mouth(
    sketch: Sketch, shape: FaceShape, gender: Gender, skin: Colour, moment: Moment
) -> None:
    """Lips along a curve that smiles, parted by as much as the mouth is open."""
    y = 0.16 + 0.5 * shape.nose_length + 0.28 * (shape.chin - 0.5)
    share = np.linspace(-1.0, 1.0, 24)
    x = share * shape.mouth_width * (1.0 + 0.10 * moment.smile)
    curve = y - 0.085 * moment.smile * (share**2 - 0.5)
    full = 1.0 - np.abs(share) ** 2.2
    gap = 0.045 * moment.mouth_open * full
    red = _mix(skin, (196, 62, 72), 0.62 if gender == "f" else 0.30)
    upper = curve - gap - shape.lips * full * (0.8 + 0.2 * np.cos(share * 9.0))
    lower = curve + gap + shape.lips * 1.15 * full
    sketch.fill(_band(x, upper, lower), red, depth=0.8)
    sketch.fill(_band(x, curve - gap, curve + gap), (86, 28, 34), depth=0.8)
    sketch.fill(_band(x * 0.86, curve - gap, curve), WHITE, depth=0.8)
    sketch.stroke(np.stack([x, curve], axis=1), _shade(red, 0.6), 0.008, depth=0.8)


def _band(x: Points, above: Points, below: Points) -> Points:
    """The area between two curves over the same x."""
    there, back = np.stack([x, above], axis=1), np.stack([x, below], axis=1)[::-1]
    return np.concatenate([there, back])


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return blend((first, second), share)


def _draw_eye(
    sketch: Sketch, shape: FaceShape, gender: Gender, skin: Colour, moment: Moment, side: int
) -> None:
    """One eye: white, iris and pupil that look somewhere, and the line of the upper lid."""
    x, size = side * shape.eye_spacing, shape.eye_size
    tall = 0.62 * size * moment.eyes_open
    share = np.linspace(-1.0, 1.0, 24)
    arch = np.sqrt(np.clip(1.0 - share**2, 0.0, 1.0))
    lid = np.stack([x + share * size, -tall * arch], axis=1)
    rim = np.stack([x + share * size, 0.85 * tall * arch], axis=1)
    sketch.fill(np.concatenate([lid, rim[::-1]]), WHITE, depth=0.6)
    look_x = x + 0.22 * size * moment.gaze[0]
    look_y = 0.12 * size * moment.gaze[1]
    _draw_iris(sketch, look_x, look_y, min(0.50 * size, 0.92 * tall), shape.eye_tone)
    sketch.stroke(lid, INK, 0.024 if gender == "f" else 0.014, depth=0.6)
    sketch.stroke(rim[4:-4], _shade(skin, 0.72), 0.008, depth=0.6)
    if gender == "f":
        lash = np.array([[x + side * size * 0.9, -0.02], [x + side * (size + 0.035), -0.05]])
        sketch.stroke(lash, INK, 0.018, depth=0.6)


def _draw_iris(sketch: Sketch, x: float, y: float, radius: float, tone: float) -> None:
    colour = blend(EYE_TONES, tone)
    sketch.fill(_ellipse(x, y, radius, radius, 24), _shade(colour, 0.7), depth=0.6)
    sketch.fill(_ellipse(x, y, radius * 0.84, radius * 0.84, 24), colour, depth=0.6)
    sketch.fill(_ellipse(x, y, radius * 0.45, radius * 0.45, 16), INK, depth=0.6)
    glint = _ellipse(x + 0.3 * radius, y - 0.35 * radius, radius * 0.2, radius * 0.2, 12)
    sketch.fill(glint, WHITE, depth=0.6)


def _draw_brow(sketch: Sketch, shape: FaceShape, hair: Colour, moment: Moment, side: int) -> None:
    """One brow, thick by the nose and thin at the temple."""
    share = np.linspace(-0.9, 1.25, 16)
    x = side * (shape.eye_spacing + share * shape.eye_size)
    height = 0.62 * shape.eye_size + shape.brow_height + moment.brow_lift
    y = -height - 0.03 * np.sin((share + 0.9) / 2.15 * math.pi * 0.8)
    thick = 0.5 * shape.brow_weight * np.linspace(1.2, 0.5, 16)
    sketch.fill(_band(x, y - thick, y + thick), _shade(hair, 0.72), depth=0.6)


def _draw_hair_above(sketch: Sketch, shape: FaceShape, hair: Colour) -> None:
    """The hair over the forehead, from the temples up to the parting."""
    angle = np.linspace(math.pi, 2.0 * math.pi, 90)
    locks = max(shape.curl, 0.0) * 0.9 * np.abs(np.sin(angle * 11.0))
    volume = 0.05 + 0.04 * max(shape.hair_length, 0.0) + locks
    over_x = (shape.width + volume) * np.cos(angle)
    over_y = (_crown(shape) + volume) * np.sin(angle)
    share = np.linspace(1.0, -1.0, 40)
    line = -_crown(shape) * shape.hairline * (1.0 - np.abs(share) ** 2.5)
    line -= 0.12 * np.exp(-(((share - shape.parting) / 0.35) ** 2)) * (1.0 - share**2)
    under = np.stack([share * shape.width * 1.01, line], axis=1)
    outline = np.concatenate([np.stack([over_x, over_y], axis=1), under])
    sketch.fill(outline, hair, depth=0.1)
    _draw_shine(sketch, shape, hair)


def _draw_shine(sketch: Sketch, shape: FaceShape, hair: Colour) -> None:
    """Light on the hair, an arc high on one side of the parting."""
    angle = np.linspace(1.18, 1.42, 12) * math.pi
    arc = np.stack(
        [np.cos(angle) * shape.width * 0.9, np.sin(angle) * _crown(shape) * 0.92], axis=1
    )
    sketch.stroke(arc, _shade(hair, 1.3), 0.022, depth=0.1)


def _draw_glasses(sketch: Sketch, shape: FaceShape) -> None:
    """Two round frames, the bridge between them and their arms."""
    radius = min(1.45 * shape.eye_size, shape.eye_spacing - 0.03)
    for side in (-1, 1):
        ring = _ellipse(side * shape.eye_spacing, 0.0, radius, radius * 0.92)
        sketch.fill(ring, (226, 240, 248), depth=0.7, alpha=0.16)
        sketch.stroke(np.concatenate([ring, ring[:2]]), (52, 44, 52), 0.022, depth=0.7)
        arm = np.array([[side * (shape.eye_spacing + radius), -0.02], [side * shape.width, -0.03]])
        sketch.stroke(arm, (52, 44, 52), 0.02, depth=0.3)
    inner = shape.eye_spacing - radius
    bridge = np.array([[-inner, -0.01], [0.0, -0.03], [inner, -0.01]])
    sketch.stroke(bridge, (52, 44, 52), 0.022, depth=0.7)
