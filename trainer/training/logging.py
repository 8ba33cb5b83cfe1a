"""What a training writes down as it goes: a bar, ``log.jsonl``, and TensorBoard's files."""

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
    """One JSON object a line: of every step its terms, of every validation its scores.

    Lines of steps that will be taken again, after ``step``, are dropped first, as is a line that
    was cut short when a process was killed.
    """

    def __init__(self, path: Path, step: int) -> None:
        if path.exists():
            _keep_until(path, step)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a line; it is in the file when this returns."""
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def plain_numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """The same with None for what JSON has no number for."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; one that was cut short is left out."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # the process was killed while it wrote
            continue
    return rows


def tensorboard_is_there() -> bool:
    """Whether TensorBoard's files can be written."""
    return importlib.util.find_spec("tensorboard") is not None


class Watch:
    """Shows a bar and writes the logs of a training in its folder."""

    def __init__(self, folder: Path, step: int, steps: int) -> None:
        self._log = Log(folder / LOG, step)
        self._board = _board(folder / "tensorboard", step)
        self._bar = tqdm(total=steps, initial=step, unit="step", disable=None, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._log.close()
        if self._board is not None:
            self._board.close()

    def stepped(self, progress: Progress) -> None:
        """Write down a step."""
        self._log.write(
            {
                "step": progress.step,
                "rate": progress.rate,
                "settled": progress.settled,
                "terms": plain_numbers(progress.terms),
            }
        )
        self._draw(progress.step, {"rate": progress.rate}, "train")
        self._draw(progress.step, progress.terms, "loss")
        self._bar.update()
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in progress.terms.items()}, refresh=False)

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """Write down a validation."""
        self._log.write({"step": step, "scores": plain_numbers(scores), "best": best})
        self._draw(step, scores, "validation")
        self._bar.set_description(f"score {scores['score']:.3f}")

    def _draw(self, step: int, values: Mapping[str, float], group: str) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)


def _board(folder: Path, step: int) -> Any:
    """A writer of TensorBoard's files, or None where it is not installed."""
    if not tensorboard_is_there():
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def _keep_until(path: Path, step: int) -> None:
    kept = [json.dumps(row) + "\n" for row in read_log(path) if row["step"] <= step]
    with replacing(path) as partial:
        partial.write_text("".join(kept), "utf-8")
