"""Media of held-out people in one folder, named ``person/recording.suffix`` as in the lists.

A voice is the speech in a recording as an index finds it, all segments joined; a face is a crop of
LFW as it is, and the crop that an index makes of any other image. ``_1`` and ``_2`` are halves of
one recording.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from avsearch.media import SAMPLE_RATE, MediaExtractor, load_media, read_audio
from benchmarks.quality.degrade import WAYS, Samples
from benchmarks.quality.trial_lists import Named
from indexer.errors import RefusedFile
from indexer.types import Media, Modality

Extract = Callable[[Path, Modality], Iterator[Media]]


class TrialMedia:
    """Writes media to a folder and returns their names.

    ``extract`` finds the faces or the speech in a file; by default as an index does.
    """

    def __init__(self, folder: Path, seed: int, extract: Extract | None = None) -> None:
        self.folder = folder
        self._seed = seed
        self._extract = extract or MediaExtractor().extract
        self._spoken: dict[str, Samples] = {}  # by name

    def crops(self, person: str, paths: Iterable[Path]) -> list[str]:
        """Link images that are crops already."""
        return [self._linked(_name(person, path, path.suffix), path) for path in paths]

    def faces(self, person: str, paths: Iterable[Path]) -> list[str]:
        """Write the first face of each image or video."""
        return [self._face(_name(person, path, ".png"), path) for path in paths]

    def voices(self, person: str, paths: Iterable[Path]) -> list[str]:
        """Write the speech of each recording or video; those without speech are left out."""
        found = ((_name(person, path, ".flac"), self._speech(path)) for path in paths)
        return [self._written(name, samples) for name, samples in found if len(samples)]

    def halves(self, voices: Named, part: int) -> Named:
        """Write the first halves of voices, part 1, or the second ones, 2."""
        return {who: [self._half(name, part) for name in own] for who, own in voices.items()}

    def degraded(self, voices: Named, way: str, talkers: Named) -> Named:
        """Write voices with a degradation of WAYS, in the babble of other ``talkers``."""
        found = {}
        for who, own in voices.items():
            others = [self._spoken[name] for name in _all_but(who, talkers)]
            found[who] = [self._worse(name, way, others) for name in own]
        return found

    def _linked(self, name: str, path: Path) -> str:
        place = self._place(name)
        place.unlink(missing_ok=True)
        place.symlink_to(path.resolve())
        return name

    def _face(self, name: str, path: Path) -> str:
        face = load_media(next(iter(self._extract(path, "face"))))
        Image.fromarray(face).save(self._place(name))
        return name

    def _speech(self, path: Path) -> Samples:
        """All speech segments joined; empty without speech."""
        try:
            parts = [load_media(media) for media in self._extract(path, "voice")]
        except RefusedFile:
            return np.zeros(0, np.float32)
        return np.concatenate(parts)

    def _half(self, name: str, part: int) -> str:
        samples = self._spoken[name]
        middle = len(samples) // 2
        half = samples[:middle] if part == 1 else samples[middle:]
        return self._written(_with(name, f"_{part}"), half)

    def _worse(self, name: str, way: str, others: Sequence[Samples]) -> str:
        worse = _with(name, f"-{way.replace(' ', '-')}")
        rng = np.random.default_rng([self._seed, zlib.crc32(worse.encode())])
        return self._written(worse, WAYS[way](self._spoken[name], others, rng))

    def _written(self, name: str, samples: Samples) -> str:
        self._spoken[name] = samples
        quiet = samples / max(1.0, float(np.abs(samples).max(initial=0)))
        soundfile.write(self._place(name), quiet, SAMPLE_RATE)
        return name

    def _place(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def whole_recordings(path: Path, modality: Modality) -> Iterator[Media]:
    """Yield voices with all silences, and faces as an index finds them."""
    if modality == "voice":
        yield Media(path, modality, data=read_audio(path))
    else:
        yield from MediaExtractor().extract(path, modality)


def _name(person: str, path: Path, ending: str) -> str:
    """The name of a file in a list; ``_`` would separate a recording from its part."""
    return f"{person}/{path.stem.replace('_', '-')}{ending}"


def _with(name: str, more: str) -> str:
    path = Path(name)
    return str(path.with_name(f"{path.stem}{more}{path.suffix}"))


def _all_but(person: str, media: Named) -> list[str]:
    return [name for who, own in media.items() if who != person for name in own]
