"""Training of one model by several processes, as ``torchrun`` starts them.

Every process makes its own batches and the gradients are averaged, so n processes train like one
with an n times larger batch, as far as a model's losses are means over items. Buffers, such as
the statistics of normalisations, are those of the first process.
"""

from __future__ import annotations

import datetime
import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from indexer.errors import BadRequest

_PATIENCE = datetime.timedelta(hours=2)  # the others wait while the first validates


class Group:
    """The processes of a training; this one has number ``rank`` of ``world``.

    A group of one sends nothing.
    """

    def __init__(self, rank: int = 0, world: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.world = rank, world
        self._device = device or torch.device("cpu")

    @property
    def first(self) -> bool:
        """True in the process that validates, writes and prints."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of all processes' values, which have one shape."""
        if self.world > 1:
            values = values.clone()
            distributed.all_reduce(values)
            values /= self.world
        return values

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients; where only some processes have one, the others count as zero."""
        if self.world == 1:
            return
        every = list(parameters)
        has = torch.tensor([p.grad is not None for p in every], dtype=torch.float32)
        anywhere = self.mean(has.to(self._device)).tolist()
        used = [p for p, share in zip(every, anywhere, strict=True) if share]
        for like in _by_dtype(used):
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in like]
            means = self.mean(torch.cat([grad.flatten() for grad in grads]))
            for parameter, mean in zip(like, _split_like(means, grads), strict=True):
                parameter.grad = mean.clone()

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first process's values into all processes, in place."""
        if self.world == 1:
            return
        for like in _by_dtype(tensors):
            flat = torch.cat([tensor.detach().flatten() for tensor in like])
            sent = flat.to(torch.uint8) if flat.dtype == torch.bool else flat
            distributed.broadcast(sent, 0)
            for tensor, values in zip(like, _split_like(sent, like), strict=True):
                tensor.detach().copy_(values)

    def gather(self, message: bytes) -> list[bytes]:
        """Return the messages of all processes, in the order of their ranks."""
        if self.world == 1:
            return [message]
        sizes = self._gather(torch.tensor([len(message)]))
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(message)] = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        rows = self._gather(padded)
        return [row[: int(size)].numpy().tobytes() for row, size in zip(rows, sizes, strict=True)]

    def wait(self) -> None:
        """Wait until every process has called this."""
        self.mean(torch.zeros(1, device=self._device))

    def _gather(self, values: Tensor) -> list[Tensor]:
        values = values.to(self._device)
        rows = [torch.empty_like(values) for _ in range(self.world)]
        distributed.all_gather(rows, values)
        return [row.cpu() for row in rows]


ALONE = Group()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Group, torch.device]]:
    """Join the group that ``torchrun`` started, if there is one.

    A group that was joined before is left as it is.

    Yields:
        The group, and this process's device.

    Raises:
        BadRequest: The machine has fewer GPUs than processes.
    """
    if distributed.is_initialized():
        yield Group(distributed.get_rank(), distributed.get_world_size(), device), device
        return
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        process, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if process >= there:
            raise BadRequest(
                f"Process {process + 1} of this machine needs a GPU, and there are {there}; "
                f"start {there} with --nproc-per-node, or train with --device cpu."
            )
        device = torch.device("cuda", process)
        torch.cuda.set_device(device)
    # An optimizer's first step imports this. Imported within a group, it would hold the group for
    # ever, and the group's threads sometimes abort the end of the process.
    importlib.import_module("torch._dynamo")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Group(distributed.get_rank(), world, device), device
    finally:
        distributed.destroy_process_group()


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Group tensors by type, so that few messages are sent."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.dtype, []).append(tensor)
    return list(kinds.values())


def _split_like(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """Split a flat tensor into parts of these shapes."""
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]
