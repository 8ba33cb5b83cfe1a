"""Time to start the program and to answer a first query, beside importing torch.

``python -m benchmarks.speed.startup`` starts processes in turns. The first of each is not counted:
it reads files from the disk and writes the bytecode that an installed program has. With ``--index
INDEX`` and FILEs it also queries that index with each file, once as installed and once with a copy
of the default model that has no ONNX files, so that torch runs it. It prints seconds of the clock
and of the processor.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from avsearch.runtime.weights import find_weights
from benchmarks.machine import Machine
from benchmarks.tables import Spread, table


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--index", type=click.Path(exists=True, path_type=Path), help="Index to query.")
@click.option("--rounds", default=7, show_default=True)
def main(files: tuple[Path, ...], index: Path | None, rounds: int) -> None:
    """Print the median seconds of each command, with the least and the most."""
    if files and index is None:
        raise click.UsageError("Name the index to query: --index INDEX.")
    click.echo(Machine.here(["torch", "onnxruntime", "numpy", "sqlalchemy"]).described() + "\n")
    commands = {
        "import torch": ["-c", "import torch"],
        "import avsearch": ["-c", "import avsearch"],
        "avsearch --help": ["-m", "avsearch", "--help"],
    }
    with tempfile.TemporaryDirectory() as folder:
        model = shutil.copy(find_weights(None), folder)
        for file in files:
            query = ["-m", "avsearch", "query", str(file), "--index", str(index), "--device", "cpu"]
            commands[f"query with {file.suffix}, no torch"] = query
            commands[f"query with {file.suffix}, by torch"] = [*query, "--model", str(model)]
        taken = _run_in_turns(commands, rounds)
    rows = [
        (name, *(f"{Spread.of(values):.3g}" for values in zip(*each, strict=True)))
        for name, each in taken.items()
    ]
    click.echo(table(("what", "seconds", "of the processor"), rows))


def _run_in_turns(
    commands: dict[str, list[str]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of each command in each round but a first one."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            seconds = _run(command)
            if number:
                taken[name].append(seconds)
    return taken


def _run(command: list[str]) -> tuple[float, float]:
    """Run Python; return seconds of the clock and of the processor.

    Raises CalledProcessError where it fails.
    """
    environment = {key: v for key, v in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before, started = _processor_seconds(), time.perf_counter()
    subprocess.run(
        [sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=environment
    )
    return time.perf_counter() - started, _processor_seconds() - before


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # finer than os.times
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
