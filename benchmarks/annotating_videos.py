"""AnnotateOptions much speech of scripted videos gets the right name, by what the index holds.

``python -m benchmarks.annotating_videos --data ../shared/data [--model FILE]``

The sound is a conversation as those of :mod:`benchmarks.annotating`. The picture shows the face of
who speaks for most turns, that of somebody who listens for some, and nobody for others. Faces are
pictures in the wild, another one a turn, slowly drawn nearer; everybody was lent those of somebody
of the own gender, of whom half are in the index. So what is measured is faces followed, given to
speakers and recognised, with voices beside them; not lips, and not that a face fits a voice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import av
import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avsearch.annotation.pipeline import AnnotateOptions, annotate_recording
from avsearch.annotation.turns import Turn
from avsearch.media import SAMPLE_RATE, MediaExtractor
from avsearch.media.audio import Samples
from avsearch.models import TrainedEmbedder, load_model
from benchmarks.annotating import (
    SIDE,
    Row,
    by_holding,
    drawn_known,
    embedded_faces,
    embedded_voice,
    how_of,
    indexed,
    lent_faces,
    report,
    rows_of,
    talkers_of,
)
from benchmarks.conversations import Conversation, Talker, anonymous, converse
from benchmarks.machine import Machine
from indexer.errors import RefusedFile
from indexer.types import Media

LEAST_PICTURES: Final = 4  # of a face: half to know it by, half to be seen
TURNS: Final = 12  # of a conversation, at most
CAST: Final = (2, 4)  # people in it
LISTENER: Final = 0.2  # of the turns show somebody else of the cast
NOBODY: Final = 0.15  # of the turns show no face
FPS: Final = 4
WIDTH, HEIGHT, FACE_PX = 320, 240, 180
NEARER: Final = 1.1  # how much larger a face is at the end of its turn

Frame = NDArray[np.uint8]  # (HEIGHT, WIDTH, 3)
Shown = list[tuple[Turn, Path | None]]


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", default=None, help="A shipped model's name or a checkpoint file.")
@click.option("--worlds", default=4, show_default=True, help="Indexes, of other people each.")
@click.option("--videos", default=4, show_default=True, help="Of each world.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, model: str | None, worlds: int, videos: int, seed: int) -> None:
    """Print the table."""
    embedder = load_model(model)
    everybody = talkers_of(data, embedder, SIDE)
    faces = lent_faces(data, embedder, SIDE, [who.key for who in everybody], LEAST_PICTURES)
    talkers = [who for who in everybody if who.key in faces]
    click.echo(Machine.here(["torch", "numpy"]).described())
    click.echo(f"{len(talkers)} people of the {SIDE} side; model {embedder.space.describe()}")
    report(Bench(embedder, talkers, faces, how_of(embedder, None), seed).run(worlds, videos))


class Bench:
    """People with faces, and videos of theirs annotated."""

    def __init__(
        self,
        embedder: TrainedEmbedder,
        talkers: Sequence[Talker],
        faces: Mapping[str, Sequence[Path]],
        how: AnnotateOptions,
        seed: int,
    ) -> None:
        self._embedder, self._talkers, self._how = embedder, talkers, how
        self._rng = np.random.default_rng(seed)
        self._seen = {key: pictures[1::2] for key, pictures in faces.items()}
        self._held = by_holding(
            {who.key: embedded_voice(embedder, who) for who in talkers},
            {who.key: embedded_faces(embedder, detected(faces[who.key][::2])) for who in talkers},
        )

    def run(self, worlds: int, videos: int) -> dict[tuple[str, str], list[Row]]:
        """What became of everybody's speech, by what the index holds and what was looked at."""
        rows: dict[tuple[str, str], list[Row]] = {}
        for _ in range(worlds):
            known = drawn_known(self._rng, [who.key for who in self._talkers])
            for _ in range(videos):
                for way, found in self._one(known):
                    rows.setdefault(way, []).extend(found)
        return rows

    def _one(self, known: set[str]) -> Iterator[tuple[tuple[str, str], list[Row]]]:
        count = int(self._rng.integers(CAST[0], CAST[1] + 1))
        cast = [self._talkers[at] for at in self._rng.permutation(len(self._talkers))[:count]]
        spoken = converse(self._rng, cast, TURNS)
        said = anonymous(spoken.turns)[0]
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "conversation.mp4"
            write_video(video, spoken, script(self._rng, spoken, self._seen))
            for holds, held in self._held.items():
                for name, faces in (("sound and picture", True), ("sound", False)):
                    if holds == "faces" and not faces:
                        continue
                    how = dataclasses.replace(self._how, faces=faces)
                    with indexed(self._embedder.space, held, known) as index:
                        found = annotate_recording(video, said, index, self._embedder, how)
                    yield (holds, name), rows_of(spoken.turns, found, known)


def detected(pictures: Sequence[Path]) -> list[Media]:
    """The faces found in pictures, as an index takes them; those with none are left out."""
    extractor = MediaExtractor()
    found = []
    for path in pictures:
        with contextlib.suppress(RefusedFile):
            found.append(next(extractor.extract(path, "face")))
    return found


def script(
    rng: np.random.Generator, spoken: Conversation, seen: Mapping[str, Sequence[Path]]
) -> Shown:
    """Which picture is shown from the beginning of each turn on; None shows nobody."""
    cast = spoken.turns.speakers
    shown: Shown = []
    for turn in spoken.turns.turns:
        others = [who for who in cast if who != turn.speaker]
        kind = rng.random()
        who = str(rng.choice(others)) if others and kind < LISTENER else turn.speaker
        pictures = seen[who]
        nobody = LISTENER <= kind < LISTENER + NOBODY
        shown.append((turn, None if nobody else pictures[int(rng.integers(len(pictures)))]))
    return shown


def write_video(path: Path, spoken: Conversation, shown: Shown) -> None:
    """The sound with the pictures, as MPEG-4."""
    duration_s = len(spoken.samples) / SAMPLE_RATE
    with av.open(str(path), "w") as out:
        picture = out.add_stream("mpeg4", rate=FPS, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        picture.bit_rate = 1_000_000
        sound = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono", bit_rate=96_000)
        for frame in frames(shown, duration_s):
            out.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(sound.encode(_sound(spoken.samples)))
        for stream in (picture, sound):
            out.mux(stream.encode(None))


def frames(shown: Shown, duration_s: float) -> Iterator[Frame]:
    """The picture of each turn from its beginning to that of the next, drawn nearer."""
    starts = [0.0, *(turn.start_s for turn, _ in shown[1:]), duration_s]
    for number, (_, path) in enumerate(shown):
        first, last = round(starts[number] * FPS), round(starts[number + 1] * FPS)
        face = None if path is None else Image.open(path).convert("RGB")
        for at in range(first, last):
            yield _framed(face, 1 + (NEARER - 1) * (at - first) / max(1, last - first))


def _framed(face: Image.Image | None, nearness: float) -> Frame:
    frame = Image.new("RGB", (WIDTH, HEIGHT), (60, 60, 60))
    if face is not None:
        side = round(FACE_PX * nearness)
        frame.paste(face.resize((side, side)), ((WIDTH - side) // 2, (HEIGHT - side) // 2))
    return np.asarray(frame)


def _sound(samples: Samples) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE, 0
    return frame


if __name__ == "__main__":
    main()
