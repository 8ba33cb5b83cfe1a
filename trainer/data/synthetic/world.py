"""A synthetic world: invented people whose drawn faces and synthetic voices share an identity.

Nobody in it exists. A person has a gender, a country, and an identity that each modality
carries a part of. With ``shared`` the share of the identity that both carry, the components
of a person's face and voice are, in each of ``dims`` dimensions,

    face  = sqrt(shared) * common + sqrt(1 - shared) * face_only
    voice = sqrt(shared) * common + sqrt(1 - shared) * voice_only

with all three standard normal, so that a face component and the voice component beside it
correlate by ``shared``. Every trait of a face or a voice is a monotone function of one
component, over a range that the gender and the country set.

How well faces and voices can be matched at all in such a world is computed in
`benchmarks.quality.synthetic_bound`: with ``shared`` 0 only gender and country are left, with
1 only the noise of single takes is in the way.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from indexer.errors import BadRequest
from trainer.data.synthetic.draw import draw_face, expose
from trainer.data.synthetic.faces import Gender, face_shape, pick_moment
from trainer.data.synthetic.voices import VOICE_RANGES, speak, voice_shape

# What a stream of random numbers is for; each takes the seed, a person and a take besides.
PERSON, FACE, VOICE = range(3)

MAX_DIMS = len(VOICE_RANGES)  # a component beyond these would not be heard

CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"


class Country(NamedTuple):
    """An invented country: what its people are called, after their given names too."""

    name: str
    ending: str  # of family names; none is the end of another
    women: tuple[str, ...]
    men: tuple[str, ...]


COUNTRIES = (
    Country(
        "Lumeria", "lind", ("Elva", "Sira", "Noemi", "Tilda"), ("Arvid", "Joren", "Leif", "Osmo")
    ),
    Country(
        "Tarsova", "nov", ("Mirka", "Danja", "Vesla", "Olena"), ("Pavlo", "Radek", "Stevan", "Miro")
    ),
    Country(
        "Kivanda", "mbe", ("Amara", "Zuri", "Nalia", "Thema"), ("Jabo", "Kofan", "Sefu", "Tendo")
    ),
    Country(
        "Ostrelle",
        "quin",
        ("Celise", "Amelle", "Fleur", "Odile"),
        ("Remy", "Bastien", "Loic", "Theo"),
    ),
    Country(
        "Zelbria", "rez", ("Inara", "Paloma", "Rosal", "Luz"), ("Mateo", "Iker", "Tavio", "Bruno")
    ),
    Country(
        "Norvane", "wick", ("Isla", "Maren", "Freya", "Runa"), ("Ewan", "Callum", "Tor", "Finn")
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class WorldSettings:
    """What the people of a world have in common.

    ``shared`` is the share of the identity that face and voice both carry, 0 to 1; ``dims``
    the size of the identity; ``nationalities`` how many countries there are;
    ``picture_size`` the side of a picture in pixels; ``rate`` samples a second of a voice.
    """

    shared: float = 0.8
    dims: int = 6
    nationalities: int = 4
    picture_size: int = 160
    rate: int = 16000

    def __post_init__(self) -> None:
        _check_range("shared", self.shared, 0.0, 1.0)
        _check_range("dims", self.dims, 1, MAX_DIMS)
        _check_range("nationalities", self.nationalities, 1, len(COUNTRIES))
        _check_range("picture_size", self.picture_size, 16, 1024)
        _check_range("rate", self.rate, 8000, 48000)


@dataclasses.dataclass(frozen=True, slots=True)
class SyntheticPerson:
    """Somebody who does not exist.

    ``face_traits`` and ``voice_traits`` are the identity's components as each modality
    carries them: ``dims`` numbers, standard normal over people.
    """

    key: str
    name: str
    gender: Gender
    nationality: str
    face_traits: tuple[float, ...]
    voice_traits: tuple[float, ...]
    number: int


class World:
    """Any number of people, each the same whenever asked for: a seed and a number decide."""

    def __init__(self, settings: WorldSettings | None = None, seed: int = 0) -> None:
        self.settings = settings if settings is not None else WorldSettings()
        self.seed = seed

    def person(self, number: int) -> SyntheticPerson:
        """The person of a number, 0 or more."""
        rng = self._stream(PERSON, number)
        country = int(rng.integers(self.settings.nationalities))
        gender: Gender = "f" if rng.random() < 0.5 else "m"
        given = COUNTRIES[country].women if gender == "f" else COUNTRIES[country].men
        common, face_only, voice_only = rng.standard_normal((3, self.settings.dims))
        return SyntheticPerson(
            key=f"p{number:05d}",
            name=f"{given[rng.integers(len(given))]} {family_name(number, country, self.seed)}",
            gender=gender,
            nationality=COUNTRIES[country].name,
            face_traits=_mix(common, face_only, self.settings.shared),
            voice_traits=_mix(common, voice_only, self.settings.shared),
            number=number,
        )

    def draw_face(self, person: SyntheticPerson, take: int) -> NDArray[np.uint8]:
        """One picture of a person: (picture_size, picture_size, 3) uint8 RGB."""
        rng = self._stream(FACE, person.number, take)
        country = country_number(person.nationality)
        shape = face_shape(person.face_traits, person.gender, country)
        moment = pick_moment(rng)
        drawing = draw_face(shape, person.gender, country, moment, self.settings.picture_size)
        return expose(drawing, moment, rng)

    def speak(
        self, person: SyntheticPerson, take: int, seconds: float = 4.0
    ) -> NDArray[np.float32]:
        """One stretch of a person's speech: (seconds * rate,) float32, -1 to 1."""
        rng = self._stream(VOICE, person.number, take)
        country = country_number(person.nationality)
        shape = voice_shape(person.voice_traits, person.gender)
        return speak(shape, country, rng, seconds=seconds, rate=self.settings.rate)

    def _stream(self, purpose: int, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, *numbers])


def country_number(nationality: str) -> int:
    """The place of a country among COUNTRIES."""
    return [country.name for country in COUNTRIES].index(nationality)


def family_name(number: int, country: int, seed: int) -> str:
    """A pronounceable family name that nobody else in the world of this seed has.

    Two syllables spell the number of one of the first 4,900 people, more those of the people
    after them. Multiplying by a prime and adding, modulo the number of names of that length,
    only puts them out of order.
    """
    syllables = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
    length, before = 2, 0
    while number - before >= len(syllables) ** length:
        before += len(syllables) ** length
        length += 1
    code = ((number - before) * 2741 + seed * 977) % len(syllables) ** length
    digits = [code // len(syllables) ** place % len(syllables) for place in range(length)]
    return "".join(syllables[digit] for digit in digits).capitalize() + COUNTRIES[country].ending


def write_gallery(
    world: World, people: Iterable[int], folder: Path, faces: int = 3, voices: int = 3
) -> list[SyntheticPerson]:
    """Write a folder a person with pictures and sounds, and ``people.csv`` beside them."""
    written = [world.person(number) for number in people]
    for person in written:
        home = folder / person.key
        home.mkdir(parents=True, exist_ok=True)
        for take in range(faces):
            write_picture(home / f"face{take}.jpg", world.draw_face(person, take))
        for take in range(voices):
            write_sound(home / f"voice{take}.flac", world.speak(person, take), world.settings.rate)
    write_people(folder / "people.csv", written)
    return written


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Save (height, width, 3) RGB as the picture its name says."""
    Image.fromarray(pixels).save(path, quality=92)


def write_sound(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    """Save (samples,) in 16 bits as the sound its name says."""
    soundfile.write(path, samples, rate, subtype="PCM_16")


def write_people(path: Path, people: Iterable[SyntheticPerson]) -> None:
    """Save who the people are, as a gallery's ``people.csv``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["person", "name", "gender", "nationality"])
        writer.writerows([each.key, each.name, each.gender, each.nationality] for each in people)


def _mix(common: NDArray[np.float64], own: NDArray[np.float64], shared: float) -> tuple[float, ...]:
    """Components of one modality: the common ones and its own, of variance 1 together."""
    return tuple((math.sqrt(shared) * common + math.sqrt(1.0 - shared) * own).tolist())


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise BadRequest(f"{name} is {value}; it is {least} to {most}.")
