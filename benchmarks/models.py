"""Each model's size, and how fast it embeds what is decoded already.

``python -m benchmarks.models`` prints a row for each model, at the paper's size and small: its
parameters, the megabytes of a checkpoint, and faces and voices a second through the network alone:
the median and [least, most] of rounds in turns. On a CPU a batch goes through every core, on a GPU
(``--device cuda``) one large batch after the other, from its memory; ``--precision bfloat16``
computes so under autocast.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn

from avsearch.models import MODELS
from avsearch.models.inputs import SAMPLE_RATE
from avsearch.models.layers.blocks import fuse_norms
from avsearch.runtime.threads import on_all_cores
from benchmarks.machine import Machine
from benchmarks.measure import Figure

BATCH = 16  # of a core
GPU_BATCH = 256
GPU_PASSES = 10  # of a round

precision_option = click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=("float32",),
    type=click.Choice(["float32", "bfloat16", "float16"]),
    show_default=True,
)


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--model", "names", multiple=True, default=tuple(MODELS), show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@precision_option
def main(rounds: int, names: tuple[str, ...], device: str, precisions: tuple[str, ...]) -> None:
    """Print the table."""
    click.echo(Machine.here(["torch", "numpy"]).described())
    if device == "cuda":
        click.echo(torch.cuda.get_device_name())
    click.echo()
    click.echo("| model | size | precision | parameters, M | checkpoint, MB | faces/s | voices/s |")
    click.echo("|---|---|---|---|---|---|---|")
    for name in names:
        kind = MODELS[name]
        for size, settings in (("paper", kind.Settings()), ("small", kind.Settings.small())):
            network = kind(settings).eval()
            count = sum(parameter.numel() for parameter in network.parameters())
            fuse_norms(network.to(device))
            for precision in precisions:
                timed = Timed(network, settings, torch.device(device), precision)
                rates = timed.rate("face", rounds), timed.rate("voice", rounds)
                row = (name, size, precision, f"{count / 1e6:.2f}", f"{2 * count / 1e6:.0f}")
                click.echo(f"| {' | '.join((*row, *rates))} |")


@dataclasses.dataclass(frozen=True, slots=True)
class Timed:
    """A network that embeds on a device in a precision."""

    network: nn.Module
    settings: Any
    device: torch.device
    precision: str

    def rate(self, side: str, rounds: int) -> str:
        """Items a second: median and [least, most]."""
        batches = self._batches(side)
        items = sum(map(len, batches))
        self._embed_all(side, batches)
        rates = []
        for _ in range(rounds):
            started = time.perf_counter()
            self._embed_all(side, batches)
            rates.append(items / (time.perf_counter() - started))
        return f"{Figure.of(rates):.0f}"

    def _batches(self, side: str) -> list[Tensor]:
        on_gpu = self.device.type == "cuda"
        count = GPU_BATCH if on_gpu else BATCH
        inputs = noise(self.settings, side, count).to(self.device)
        return [inputs] * (GPU_PASSES if on_gpu else len(os.sched_getaffinity(0)))

    def _embed_all(self, side: str, batches: list[Tensor]) -> None:
        if self.device.type == "cpu":
            on_all_cores(functools.partial(self._embed, side), batches)
            return
        for batch in batches:
            self._embed(side, batch)
        torch.cuda.synchronize()

    @torch.inference_mode()
    def _embed(self, side: str, batch: Tensor) -> None:
        kind = getattr(torch, self.precision)
        with torch.autocast(self.device.type, kind, enabled=kind != torch.float32):
            getattr(self.network, f"embed_{side}")(batch)


def noise(settings: Any, side: str, count: int) -> Tensor:
    """Random pictures or sounds of the size that a model takes."""
    rng = np.random.default_rng(0)
    if side == "face":
        shape = (count, 3, settings.face_size, settings.face_size)
        return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    samples = round(settings.voice_seconds * SAMPLE_RATE)
    return torch.from_numpy(rng.standard_normal((count, samples), dtype=np.float32) * 0.1)


if __name__ == "__main__":
    main()
