"""The share of files with several people whose right person is indexed.

``python -m benchmarks.quality.group_media --data DATA``

People of the test split have folders with their own images or recordings, and an image or an
interview with others, who have no folder. Group images are faces in the wild side by side, in a
random order; interviews are two recordings in turns of a few seconds.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from avsearch.api import MediaIndex
from avsearch.media import SAMPLE_RATE, read_image
from avsearch.media.samples import Samples
from avsearch.runtime.weights import find_weights
from benchmarks.quality.conversations import read_talker
from benchmarks.quality.held_out import people_of_side
from benchmarks.tables import table
from indexer.records import Item

PICTURE_PX: Final = 160
STRANGERS: Final = (1, 5)  # in a group picture beside the person
TURN_S: Final = 4.0
PAUSE_S: Final = 0.4
Pixels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """A file with several people, and the places or times of the person of its folder."""

    path: Path
    spans: tuple[tuple[float, float], ...]  # pixels from the left, or seconds

    def judge(self, items: Sequence[Item]) -> str:
        """Return whether the items of the file are right or wrong, or none."""
        mine = [item for item in items if item.path == self.path]
        inside = [self._is_inside(_middle(item)) for item in mine]
        if not mine:
            return "none"
        return "right" if all(inside) else "wrong"

    def _is_inside(self, at: float) -> bool:
        return any(start <= at < end for start, end in self.spans)


def _middle(item: Item) -> float:
    if item.box is not None:
        return (item.box.left + item.box.right) / 2
    return (item.start_s + (item.end_s or item.start_s)) / 2


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--people", default=50, help="Folders a row, at most.")
def main(data: Path, people: int) -> None:
    """Print a table of how often the right person, another or nobody is indexed."""
    held_out = people_of_side(find_weights(None), data, "test")
    faces = [one.files for one in held_out if one.gallery == "lfw"]
    voices = [one.key for one in held_out if one.gallery == "librispeech"]
    rows = []
    for singles, groups in ((2, 1), (1, 1), (0, 3), (0, 2), (0, 1)):
        rng = np.random.default_rng(0)
        made = _pictures(faces, singles, groups, people, rng)
        rows.append(("faces", str(singles), str(groups), *_measured(made)))
    for singles in (1, 0):
        rng = np.random.default_rng(0)
        made = _interviews(data / "librispeech", voices, singles, rng)
        rows.append(("voices", str(singles), "1", *_measured(made)))
    head = ("of", "own files", "group files", "folders", "right", "wrong", "none")
    click.echo(table(head, rows))


def _measured(make: Callable[[Path], list[Group]]) -> tuple[str, str, str, str]:
    """Index a gallery; return its folders and the shares of right, wrong and missing items."""
    with tempfile.TemporaryDirectory() as place:
        groups = make(Path(place) / "gallery")
        with MediaIndex(Path(place) / "index") as index:
            index.add(Path(place) / "gallery")
            held = {who.key: index.store.items_of(who.key)[0] for who in index.people()}
    found = Counter(group.judge(held.get(group.path.parent.name, [])) for group in groups)
    shares = (f"{found[what] / len(groups):.1%}" for what in ("right", "wrong", "none"))
    right, wrong, none = shares
    return str(len({group.path.parent for group in groups})), right, wrong, none


def _pictures(
    people: Sequence[Sequence[Path]],
    singles: int,
    groups: int,
    most: int,
    rng: np.random.Generator,
) -> Callable[[Path], list[Group]]:
    """Return a function that makes a gallery of faces, with single and group images per person."""
    enough = [files for files in people if len(files) >= singles + groups]
    chosen = [enough[at] for at in rng.permutation(len(enough))[:most]]
    taken = {files[0] for files in chosen}
    rest = [files[0] for files in people if files[0] not in taken]

    def make(gallery: Path) -> list[Group]:
        made = []
        for number, files in enumerate(chosen):
            folder = gallery / f"person{number}"
            folder.mkdir(parents=True)
            shuffled = [files[at] for at in rng.permutation(len(files))]
            for at, path in enumerate(shuffled[:singles]):
                _save([path], folder / f"single{at}.png")
            strangers = iter(rng.permutation(len(rest)).tolist())  # each in one picture
            for at, path in enumerate(shuffled[singles : singles + groups]):
                count = int(rng.integers(*STRANGERS))
                row = [rest[other] for other in itertools.islice(strangers, count)]
                place = int(rng.integers(len(row) + 1))
                group = folder / f"group{at}.png"
                _save([*row[:place], path, *row[place:]], group)
                left = place * PICTURE_PX
                made.append(Group(group.resolve(), ((left, left + PICTURE_PX),)))
        return made

    return make


def _save(paths: Sequence[Path], to: Path) -> None:
    """Write images side by side, in one height."""
    size = (PICTURE_PX, PICTURE_PX)
    tiles = [np.asarray(Image.fromarray(read_image(path)).resize(size)) for path in paths]
    Image.fromarray(np.concatenate(tiles, axis=1)).save(to)


def _interviews(
    data: Path, keys: Sequence[str], singles: int, rng: np.random.Generator
) -> Callable[[Path], list[Group]]:
    """Return a function that makes a gallery of voices: another person interviews each."""
    talkers = [talker for key in keys if (talker := read_talker(data, key)) is not None]

    def make(gallery: Path) -> list[Group]:
        made = []
        for number, talker in enumerate(talkers):
            folder = gallery / f"person{number}"
            folder.mkdir(parents=True)
            if singles:
                _write(folder / "alone.wav", np.concatenate(talker.enrolled))
            host = talkers[(number + int(rng.integers(1, len(talkers)))) % len(talkers)]
            samples, spans = _in_turns(np.concatenate(host.said), np.concatenate(talker.said))
            path = folder / "interview.wav"
            _write(path, samples)
            made.append(Group(path.resolve(), spans))
        return made

    return make


def _in_turns(host: Samples, guest: Samples) -> tuple[Samples, tuple[tuple[float, float], ...]]:
    """Return the speech of two people in turns, and the times of the guest, pauses included."""
    length, pause = round(TURN_S * SAMPLE_RATE), np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    parts: list[Samples] = []
    spans, now = [], 0
    for start in range(0, max(len(host), len(guest)), length):
        for who in (host, guest):
            turn = who[start : start + length]
            if who is guest and len(turn):
                spans.append((now / SAMPLE_RATE, (now + len(turn) + len(pause)) / SAMPLE_RATE))
            parts += [turn, pause]
            now += len(turn) + len(pause)
    return np.concatenate(parts), tuple(spans)


def _write(path: Path, samples: Samples) -> None:
    soundfile.write(path, samples, SAMPLE_RATE)


if __name__ == "__main__":
    main()
