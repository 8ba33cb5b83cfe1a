"""What a search on this device could not be quicker than: ``python -m benchmarks.bound``.

The products of queries with all vectors and their largest ones, by torch and nothing else: in
float16 on a GPU, in float32 on a CPU. The vectors lie on the device already; the queries come
from the host, and what is found goes back to it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import click
import torch
from torch import Tensor

from benchmarks.machine import Machine
from benchmarks.measure import Figure

DEPTHS = (10, 266)  # the answer, and what an exact ranking of rounded products looks at
TIMES = 30


@click.command()
@click.option("--count", default=1_000_000, show_default=True, help="Vectors.")
@click.option("--dim", default=128, show_default=True, help="Numbers of a vector.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu")
def main(count: int, dim: int, device: str) -> None:
    """Print milliseconds a call, the median and [least, most]."""
    kind = torch.float16 if device == "cuda" else torch.float32
    vectors = torch.nn.functional.normalize(torch.randn(count, dim, device=device)).to(kind)
    click.echo(Machine.here(["torch"]).described())
    if device == "cuda":
        click.echo(torch.cuda.get_device_name())
    click.echo(f"{count:,} x {dim}, {kind}, {device}")
    for queries in (1, 256):
        asked = torch.nn.functional.normalize(torch.randn(queries, dim))
        for depth in DEPTHS:
            figure = _timed(functools.partial(_search, asked, vectors, depth))
            click.echo(
                f"{queries:4} queries, best {depth:3}: {1e3 * figure.median:8.3f} ms "
                f"[{1e3 * figure.least:.3f}, {1e3 * figure.most:.3f}]"
            )


def _search(queries: Tensor, vectors: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    products = queries.to(vectors.device, vectors.dtype) @ vectors.T
    scores, rows = products.topk(min(depth, len(vectors)))
    return scores.cpu(), rows.cpu()  # waits for the device


def _timed(work: Callable[[], object]) -> Figure:
    seconds = []
    for _ in range(TIMES + 3):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Figure.of(seconds[3:])


if __name__ == "__main__":
    main()
