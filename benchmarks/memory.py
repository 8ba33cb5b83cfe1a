"""What a process holds in memory, as Linux counts it."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes; ``file`` is of mapped files, which can be dropped at any time."""

    anonymous: int
    file: int
    peak: int

    @classmethod
    def now(cls) -> Memory:
        """Of this process."""
        return cls.parsed(Path("/proc/self/status").read_text())

    @classmethod
    def parsed(cls, status: str) -> Memory:
        """From the text of ``/proc/PID/status``."""
        lines = (line.split(":", 1) for line in status.splitlines() if ":" in line)
        kib = {name: int(rest.split()[0]) for name, rest in lines if rest.endswith(" kB")}
        return cls(1024 * kib["RssAnon"], 1024 * kib["RssFile"], 1024 * kib["VmHWM"])

    @property
    def resident(self) -> int:
        """All of it."""
        return self.anonymous + self.file

    def beyond(self, before: Memory) -> Memory:
        """What was added since."""
        return Memory(
            self.anonymous - before.anonymous, self.file - before.file, self.peak - before.resident
        )
