"""The log of a training: a progress bar, ``log.jsonl``, and TensorBoard's files."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from tqdm import tqdm

from indexer.runtime.atomic import replacing
from trainer.training.loop import Progress

LOG = "log.jsonl"


class Log:
    """A file of JSON lines: the terms of every step, and the scores of every validation.

    Lines after ``step``, whose steps are taken again, are removed first, and so is a line that was
    cut short when a process was killed.
    """

    def __init__(self, path: Path, step: int) -> None:
        if path.exists():
            lines = [json.dumps(row) + "\n" for row in read_log(path) if row["step"] <= step]
            with replacing(path) as partial:
                partial.write_text("".join(lines), "utf-8")
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a line, and flush it to the file."""
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def plain_numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return the values with None for NaN and infinity, which JSON does not have."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, without one that was cut short."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # the process was killed while it wrote
            continue
    return rows


def tensorboard_is_there() -> bool:
    """Return True where TensorBoard is installed."""
    return importlib.util.find_spec("tensorboard") is not None


class TrainingLog:
    """A callback that shows a progress bar and writes the logs of a training into its folder."""

    def __init__(self, folder: Path, step: int, steps: int) -> None:
        self._log = Log(folder / LOG, step)
        self._board: Any = None
        if tensorboard_is_there():
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(total=steps, initial=step, unit="step", disable=None, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._log.close()
        if self._board is not None:
            self._board.close()

    def on_step(self, progress: Progress) -> None:
        """Log a step."""
        self._log.write(
            {
                "step": progress.step,
                "rate": progress.rate,
                "settled": progress.settled,
                "terms": plain_numbers(progress.terms),
            }
        )
        self._add(progress.step, {"rate": progress.rate}, "train")
        self._add(progress.step, progress.terms, "loss")
        self._bar.update()
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in progress.terms.items()}, refresh=False)

    def on_validation(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """Log a validation."""
        self._log.write({"step": step, "scores": plain_numbers(scores), "best": best})
        self._add(step, scores, "validation")
        self._bar.set_description(f"score {scores['score']:.3f}")

    def _add(self, step: int, values: Mapping[str, float], group: str) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)
