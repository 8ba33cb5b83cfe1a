"""How fast the program starts and answers a first question, beside importing torch.

``python -m benchmarks.startup`` starts processes in turns, after one of each that is not counted:
it reads files from the disk and leaves the bytecode that an installed program has. With ``--index
INDEX`` and FILEs it asks that index with each file too: as it is installed, and where onnxruntime
is not, so that torch does what it would have done; and says where the time of the first goes.
Seconds are those of the clock and, beside a machine that has other work, those of the processor.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from benchmarks.machine import Machine
from benchmarks.markdown import table
from benchmarks.measure import Figure

TORCH = "import torch"
BARE = {
    TORCH: ["-c", TORCH],
    "import avsearch": ["-c", "import avsearch"],
    "avsearch --help": ["-m", "avsearch", "--help"],
}
WITHOUT_ONNX = (  # None there: importing it raises
    "import sys; sys.modules['onnxruntime'] = None; from avsearch.cli import main; main()"
)
WITH_BYTECODE = {key: said for key, said in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


@dataclasses.dataclass(slots=True)
class Started:
    """A command of Python's, and what it took each time."""

    name: str
    command: Sequence[str]
    seconds: list[float] = dataclasses.field(default_factory=list)
    processor: list[float] = dataclasses.field(default_factory=list)

    def run(self) -> None:
        """Start it once more; raises CalledProcessError where it fails."""
        started, before = time.perf_counter(), _of_children()
        command = [sys.executable, *self.command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=WITH_BYTECODE)
        self.seconds.append(time.perf_counter() - started)
        self.processor.append(_of_children() - before)

    def forget_first(self) -> None:
        """Have the first time not counted."""
        del self.seconds[0], self.processor[0]


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--index", type=click.Path(exists=True, path_type=Path), help="Asked with the FILEs.")
@click.option("--rounds", default=7, show_default=True)
def main(files: tuple[Path, ...], index: Path | None, rounds: int) -> None:
    """Print the median seconds of each command, and the least and most."""
    if files and index is None:
        raise click.UsageError("Name the index that is asked: --index INDEX.")
    click.echo(Machine.here(["torch", "onnxruntime", "numpy", "sqlalchemy"]).described() + "\n")
    started = [Started(name, command) for name, command in BARE.items()]
    started += [each for file in files for each in _questions(file, str(index))]
    for _ in range(rounds + 1):  # in turns, so that a slow moment of the machine hits all of them
        for each in started:
            each.run()
    for each in started:
        each.forget_first()
    rows = [(each.name, _said(each.seconds), _said(each.processor)) for each in started]
    click.echo(table(("what", "seconds", "of the processor"), rows))
    for file in files:
        click.echo(f"\n{file.name}, its parts, ms\n")
        click.echo(table(("part", "ms"), _parts(file, str(index), rounds)))


def _questions(file: Path, index: str) -> Iterator[Started]:
    query = ["query", str(file), "--index", index, "--device", "cpu"]
    yield Started(f"query with {file.suffix}, no torch", ["-m", "avsearch", *query])
    yield Started(f"query with {file.suffix}, by torch", ["-c", WITHOUT_ONNX, *query])


def _parts(file: Path, index: str, rounds: int) -> list[tuple[str, str]]:
    """What each part of a question takes, in order, over several processes."""
    command = [sys.executable, "-m", "benchmarks.first_question", str(file), index]
    runs = [
        json.loads(
            subprocess.run(command, check=True, capture_output=True, env=WITH_BYTECODE).stdout
        )
        for _ in range(rounds)
    ]
    return [(part, _said([1e3 * run[part] for run in runs])) for part in runs[0]]


def _of_children() -> float:
    """Processor seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # finer than os.times
    return used.ru_utime + used.ru_stime


def _said(values: Sequence[float]) -> str:
    return f"{Figure.of(values):.3g}"


if __name__ == "__main__":
    main()
