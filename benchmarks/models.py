"""Each model's size, and how fast it embeds what is decoded already.

``python -m benchmarks.models`` prints a row for each model, at the paper's size and small: its
parameters, the megabytes of a checkpoint, and faces and voices a second through the network alone,
on all cores: the median and [least, most] of rounds in turns.
"""

from __future__ import annotations

import os
import time
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from avsearch.cores import on_all_cores
from avsearch.models import MODELS
from avsearch.models.blocks import fuse_norms
from avsearch.models.frontends import SAMPLE_RATE
from benchmarks.machine import Machine
from benchmarks.measure import Figure

BATCH = 16


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--model", "names", multiple=True, default=tuple(MODELS), show_default=True)
def main(rounds: int, names: tuple[str, ...]) -> None:
    """Print the table."""
    click.echo(Machine.here(["torch", "numpy"]).described())
    click.echo()
    click.echo("| model | size | parameters, M | checkpoint, MB | faces/s | voices/s |")
    click.echo("|---|---|---|---|---|---|")
    for name in names:
        kind = MODELS[name]
        for size, settings in (("paper", kind.Settings()), ("small", kind.Settings.small())):
            network = kind(settings).eval()
            count = sum(parameter.numel() for parameter in network.parameters())
            fuse_norms(network)
            faces, voices = (_rate(network, settings, side, rounds) for side in ("face", "voice"))
            row = (name, size, f"{count / 1e6:.2f}", f"{2 * count / 1e6:.0f}", faces, voices)
            click.echo(f"| {' | '.join(map(str, row))} |")


def _rate(network: nn.Module, settings: Any, side: str, rounds: int) -> str:
    """Items a second with a batch on each core: median and [least, most]."""
    rng = np.random.default_rng(0)
    if side == "face":
        shape = (BATCH, 3, settings.face_size, settings.face_size)
        inputs = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    else:
        shape_of_sound = (BATCH, round(settings.voice_seconds * SAMPLE_RATE))
        inputs = torch.from_numpy(rng.standard_normal(shape_of_sound, dtype=np.float32) * 0.1)
    batches = [inputs] * len(os.sched_getaffinity(0))

    @torch.inference_mode()
    def embed(batch: torch.Tensor) -> None:
        getattr(network, f"embed_{side}")(batch)

    on_all_cores(embed, batches)
    rates = []
    for _ in range(rounds):
        started = time.perf_counter()
        on_all_cores(embed, batches)
        rates.append(len(batches) * BATCH / (time.perf_counter() - started))
    figure = Figure.of(rates)
    return f"{figure.median:.0f} [{figure.least:.0f}, {figure.most:.0f}]"


if __name__ == "__main__":
    main()
