"""The commands in Markdown files: run them, and compare or write their output.

    python -m tools.console check FILE...    exit 1 where a command prints something else
    python -m tools.console write FILE...    write what the commands print into the files

A block of the language ``console`` holds lines that begin with ``$`` and, below each, its output.
A block of the language ``bash`` is a script without output. All commands of a file run one after
the other in one folder: an empty one, or the one that ``--folder`` names. Numbers are not compared,
because their last digits differ between machines.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_BLOCK = re.compile(r"^```(console|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (?:.*\\\n)*.*\n", re.MULTILINE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclasses.dataclass(frozen=True, slots=True)
class ConsoleExample:
    """A command of a page, with the output beside it there and the output that it has now.

    ``start`` and ``end`` are the places of the written output in the page.
    """

    command: str
    start: int
    end: int
    written: str
    printed: str

    @property
    def holds(self) -> bool:
        """Both outputs are the same but for numbers and the width of columns."""
        return _comparable(self.written) == _comparable(self.printed)


def examples(page: str, folder: Path, environment: Mapping[str, str]) -> Iterator[ConsoleExample]:
    """Run the commands of a page in a folder.

    Raises subprocess.CalledProcessError where a command fails.
    """
    for block in _BLOCK.finditer(page):
        if block[1] == "bash":
            printed = _run(block[2], folder, environment)
            yield ConsoleExample(block[2], block.end(2), block.end(2), "", printed)
            continue
        commands = list(_COMMAND.finditer(page, block.start(2), block.end(2)))
        ends = [following.start() for following in commands[1:]] + [block.end(2)]
        for command, end in zip(commands, ends, strict=True):
            printed = _run(command[0].removeprefix("$ "), folder, environment)
            yield ConsoleExample(command[0], command.end(), end, page[command.end() : end], printed)


def _run(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    lines = done.stdout.replace(f"{folder}/", "").splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _comparable(text: str) -> list[str]:
    return _NUMBER.sub("0", text).split()


def main() -> None:
    """Check or rewrite the pages that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.console")
    parser.add_argument("action", choices=["check", "write"])
    parser.add_argument("pages", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    differing = 0
    for path in chosen.pages:
        page = path.read_text("utf-8")
        with tempfile.TemporaryDirectory() as empty:
            folder = (chosen.folder or Path(empty)).resolve()
            others = [each for each in examples(page, folder, os.environ) if not each.holds]
        differing += len(others)
        for each in reversed(others):
            sys.stdout.write(f"{path}: {each.command}{each.printed}")
            page = page[: each.start] + each.printed + page[each.end :]
        if chosen.action == "write":
            path.write_text(page, "utf-8")
    if chosen.action == "check" and differing:
        sys.exit(f"{differing} commands print something else than the pages say.")


if __name__ == "__main__":
    main()
