"""Time and memory of annotating long recordings.

``python -m benchmarks.long_recordings --data ../shared/data --minutes 10 --minutes 360`` repeats a
scripted conversation to recordings of these lengths, and annotates each in a process of its own,
with its true turns and with none. Prints seconds of sound a second of time, and the most memory the
process held.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import soundfile

from avsearch.annotation.formats.rttm import write_rttm
from avsearch.annotation.turns import Turn
from avsearch.media import SAMPLE_RATE
from benchmarks.conversations import Conversation, converse, read_talker
from benchmarks.machine import Machine
from benchmarks.memory import Memory

CAST = ("Actor_09", "Actor_10", "Actor_11", "Actor_12")


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path))
@click.option("--minutes", multiple=True, default=(10, 60), show_default=True)
@click.option("--one", nargs=3, hidden=True, help="Recording, turns or none, index.")
def main(data: Path, minutes: tuple[int, ...], one: tuple[str, str, str] | None) -> None:
    """Print a row a recording and a way, or what one process measured."""
    if one is not None:
        click.echo(json.dumps(_measured(*one)))
        return
    click.echo(Machine.here(["torch", "numpy"]).described())
    click.echo("| recording | turns | seconds | times real time | most memory, MB |")
    click.echo("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        index = _indexed(data, folder)
        spoken = _conversation(data)
        for length in minutes:
            sound, turns = _written(folder, spoken, 60 * length)
            for way in (str(turns), "none"):
                seconds, peak = _in_process(str(sound), way, str(index))
                kind = "found here" if way == "none" else "given"
                speed = 60 * length / seconds
                row = (f"{length} min", kind, f"{seconds:.0f}", f"{speed:.0f}", f"{peak / 1e6:.0f}")
                click.echo(f"| {' | '.join(row)} |")
            sound.unlink()


def _indexed(data: Path, folder: Path) -> Path:
    from avsearch.api import MediaIndex

    gallery = folder / "gallery"
    gallery.mkdir()
    for actor in CAST:
        (gallery / actor).mkdir()
        for file in sorted((data / "ravdess" / actor).glob("*.ogg"))[:10]:
            (gallery / actor / file.name).symlink_to(file.resolve())
    with MediaIndex(folder / "index") as index:
        index.add(gallery)
    return folder / "index"


def _conversation(data: Path) -> Conversation:
    found = [read_talker(data, f"ravdess/{actor}", 60) for actor in CAST]
    return converse(np.random.default_rng(0), [each for each in found if each], 100)


def _written(folder: Path, spoken: Conversation, seconds: int) -> tuple[Path, Path]:
    """A WAV of the conversation over and over, and its turns."""
    sound, said = folder / "long.wav", folder / "long.rttm"
    turns: list[Turn] = []
    with soundfile.SoundFile(sound, "w", SAMPLE_RATE, 1, "PCM_16") as out:
        while out.tell() < seconds * SAMPLE_RATE:
            at_s = out.tell() / SAMPLE_RATE
            turns += [
                turn._replace(start_s=turn.start_s + at_s, end_s=turn.end_s + at_s)
                for turn in spoken.turns.turns
            ]
            out.write(spoken.samples)
    said.write_text(write_rttm(turns, "long"))
    return sound, said


def _in_process(*one: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.long_recordings", "--one", *one]
    seconds, peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return seconds, peak


def _measured(recording: str, turns: str, index: str) -> tuple[float, int]:
    """Seconds of annotating, the loading of the model in them, and the peak of memory."""
    import avsearch

    started = time.perf_counter()
    with avsearch.open(index) as opened:
        opened.annotate(recording, None if turns == "none" else turns)
    return time.perf_counter() - started, Memory.now().peak


if __name__ == "__main__":
    main()
