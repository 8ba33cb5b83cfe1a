"""All trial lists of the default model's figures, with their media, in a folder.

The lists have the format of published ones, so any model can be evaluated with them: ``avsearch
evaluate --list lists/NAME.txt --people people.tsv --media media``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.quality import trial_lists
from benchmarks.quality.degrade import WAYS
from benchmarks.quality.held_out import GRID, Person
from benchmarks.quality.trial_lists import Named
from benchmarks.quality.trial_media import Extract, TrialMedia
from indexer.types import Modality

SENTENCES = 10  # of an actor that ask, and as many that answer
PAIRS = 6  # of one person's faces, at most
LEAST_PRECISION = 0.95  # mean average, of retrieval by gender
LEAST_MATCHED = 0.73  # of 1:2 questions
LEAST_TOLD_APART = 0.92  # of pairs of faces
EMOTIONS = "nemo", "ravdess"
PAIRED = "ravdess", GRID  # who has faces and voices
_WRITTEN = {"nemo": "nEMO", "ravdess": "RAVDESS", GRID: "GRID"}
_PICTURES, _SOUNDS = (".png", ".jpg"), (".ogg", ".wav")

Trial = TypeVar("Trial")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One list, and its figure.

    ``within`` is the modality of a list within one modality. ``clean`` is the title of the same
    list without the degradation of the voices that answer. ``least`` is the goal of a default
    model.
    """

    title: str
    list: Path
    figure: str
    answer: str = "identity"
    within: Modality | None = None
    clean: str | None = None
    least: float | None = None


class TrialFolder:
    """Writes the media and lists of some people to a folder; drawn by seed."""

    def __init__(
        self,
        folder: Path,
        people: Sequence[Person],
        seed: int = 0,
        extract: Extract | None = None,
    ) -> None:
        self._people, self._seed = people, seed
        self._lists = folder / "lists"
        self._media = TrialMedia(folder / "media", seed, extract)

    def rows(self) -> list[Row]:
        """Return all rows in the order of the table, as far as there are enough people."""
        faces = {one.key: self._media.crops(one.key, one.files) for one in self._of("lfw")}
        readers = {
            one.key: self._media.voices(one.key, one.files) for one in self._of("librispeech")
        }
        acted = self._acted()
        return [
            *self._by_gender(faces, readers),
            *self._matching(acted),
            *self._halves(readers),
            *self._sentences(acted, readers),
            *self._faces("faces in the wild", faces),
        ]

    def threshold_rows(self) -> list[Row]:
        """Return pairs of faces that set a threshold."""
        faces = {one.key: self._media.crops(one.key, one.files) for one in self._of("lfw")}
        return list(self._faces("to choose a threshold on", faces))

    def _by_gender(self, faces: Named, voices: Named) -> Iterator[Row]:
        names = _all(voices), _all(faces)
        for title, sides in (("voice to face", names), ("face to voice", names[::-1])):
            if min(map(len, sides)) > 1:
                name = f"{title}, by gender"
                path = self._write(name, sides)
                yield Row(name, path, "mAP", answer="gender", least=LEAST_PRECISION)

    def _matching(self, acted: tuple[Named, Named]) -> Iterator[Row]:
        voices = {who: [*own, *acted[1][who]] for who, own in acted[0].items()}
        voices |= {one.key: self._media.voices(one.key, one.files) for one in self._of(GRID)}
        faces = {
            one.key: self._media.faces(one.key, _kind(one.files, _PICTURES) or one.files)
            for name in PAIRED
            for one in self._of(name)
        }
        for title, asking, answering in (("V-F", voices, faces), ("F-V", faces, voices)):
            asked = {
                name: trial_lists.one_of_two(
                    self._among(asking, name), self._among(answering, name), self._seed
                )
                for name in PAIRED
            }
            for what, trials in _together_and_each(asked):
                name = f"1:2 {title}, {what}"
                yield Row(name, self._write(name, trials), "accuracy", least=LEAST_MATCHED)

    def _halves(self, readers: Named) -> Iterator[Row]:
        first, second = (self._media.halves(readers, part) for part in (1, 2))
        title = "voice to voice, halves of recordings"
        for way, answering in self._clean_and_degraded(second, readers):
            trials = trial_lists.crossed(first, answering)
            if len(readers) > 1:
                yield self._of_voices(title, way, trials)

    def _sentences(self, acted: tuple[Named, Named], readers: Named) -> Iterator[Row]:
        for way, answering in self._clean_and_degraded(acted[1], readers):
            asked = {
                name: trial_lists.crossed(self._among(acted[0], name), self._among(answering, name))
                for name in EMOTIONS
                if len(self._among(acted[0], name)) > 1
            }
            for what, trials in _together_and_each(asked):
                yield self._of_voices(f"voice to voice, {what} sentences", way, trials)

    def _faces(self, title: str, faces: Named) -> Iterator[Row]:
        trials = trial_lists.as_many_of_two(faces, PAIRS, self._seed)
        if trials:
            name = f"face to face, {title}"
            path = self._write(name, trials)
            yield Row(name, path, "accuracy", within="face", least=LEAST_TOLD_APART)

    def _clean_and_degraded(self, voices: Named, talkers: Named) -> Iterator[tuple[str, Named]]:
        """Voices as they are, with an empty name, and then with each degradation."""
        yield "", voices
        for way in WAYS:
            yield way, self._media.degraded(voices, way, talkers)

    def _acted(self) -> tuple[Named, Named]:
        """Sentences of actors for probes, and others for answers."""
        actors = [one for name in EMOTIONS for one in self._of(name)]
        sounds = {one.key: _kind(one.files, _SOUNDS) for one in actors}
        asking, answering = trial_lists.split_evenly(sounds, SENTENCES, self._seed)
        return self._voices(asking), self._voices(answering)

    def _voices(self, paths: Mapping[str, Iterable[Path]]) -> Named:
        return {who: self._media.voices(who, own) for who, own in paths.items()}

    def _of(self, gallery: str) -> list[Person]:
        return [one for one in self._people if one.gallery == gallery]

    def _among(self, media: Named, gallery: str) -> Named:
        keys = {one.key for one in self._of(gallery)}
        return {who: own for who, own in media.items() if who in keys and own}

    def _of_voices(self, title: str, way: str, trials: Sequence[Sequence[str]]) -> Row:
        """A row of voices as they are or degraded."""
        if not way:
            return Row(title, self._write(title, trials), "EER", within="voice")
        named = f"{title}, {way}"
        return Row(named, self._write(named, trials), "EER", within="voice", clean=title)

    def _write(self, title: str, trials: Sequence[Sequence[str]]) -> Path:
        name = title.replace(", ", "_").replace(" ", "-").replace(":", "-")
        return trial_lists.write_list(self._lists / f"{name}.txt", trials)


def _kind(files: Iterable[Path], endings: tuple[str, ...]) -> list[Path]:
    return [path for path in files if path.suffix in endings]


def _all(media: Mapping[str, Sequence[Trial]]) -> list[Trial]:
    return [each for own in media.values() for each in own]


def _together_and_each(
    asked: Mapping[str, Sequence[Trial]],
) -> Iterator[tuple[str, list[Trial]]]:
    """The trials of all data sets together, and of each where there are several."""
    there = {_WRITTEN[name]: list(trials) for name, trials in asked.items() if trials}
    if there:
        yield " and ".join(there), _all(there)
    if len(there) > 1:
        yield from there.items()
