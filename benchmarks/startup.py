"""How fast the program starts, beside importing torch: ``python -m benchmarks.startup``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 7
COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "import avsearch": [sys.executable, "-c", "import avsearch"],
    "avsearch --help": [sys.executable, "-m", "avsearch", "--help"],
}


def main() -> None:
    """Print the median seconds of each command, and its share of the first."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):  # in turns, so that a slow moment of the machine hits all of them
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    torch = statistics.median(seconds["import torch"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(
            f"{name:16} {median:6.3f} s [{min(taken):.3f}, {max(taken):.3f}] {median / torch:6.1%}"
        )


if __name__ == "__main__":
    main()
