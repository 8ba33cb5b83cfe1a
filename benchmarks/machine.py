"""The machine of a measurement, and the memory of a process as Linux counts it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Iterable
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """Processor, usable cores, memory in bytes, and versions by package name."""

    cpu: str
    cores: int
    memory: int
    load: float
    system: str
    versions: dict[str, str]

    @classmethod
    def here(cls, packages: Iterable[str]) -> Machine:
        """Return this machine with the versions of these packages."""
        return cls(
            cpu=_cpu(Path("/proc/cpuinfo").read_text()),
            cores=len(os.sched_getaffinity(0)),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            load=os.getloadavg()[0],
            system=f"{platform.system()} {platform.release()}",
            versions={
                "Python": platform.python_version(),
                "SQLite": sqlite3.sqlite_version,
                **{name: _version(name) for name in dict.fromkeys(packages)},
            },
        )

    def described(self) -> str:
        """Return a description in words."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory / 2**30:.0f} GiB, {self.system}, "
            f"load {self.load:.1f} before the start; {versions}."
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes; the system can take back what ``file`` counts (mapped files)."""

    anonymous: int
    file: int
    peak: int

    @classmethod
    def now(cls) -> Memory:
        """Return the memory of this process."""
        return cls.parsed(Path("/proc/self/status").read_text())

    @classmethod
    def parsed(cls, status: str) -> Memory:
        """Read the text of ``/proc/PID/status``."""
        lines = (line.split(":", 1) for line in status.splitlines() if ":" in line)
        kib = {name: int(rest.split()[0]) for name, rest in lines if rest.endswith(" kB")}
        return cls(1024 * kib["RssAnon"], 1024 * kib["RssFile"], 1024 * kib["VmHWM"])

    @property
    def resident(self) -> int:
        """Anonymous memory and mapped files together."""
        return self.anonymous + self.file

    def beyond(self, before: Memory) -> Memory:
        """Return what was added since an earlier moment."""
        return Memory(
            self.anonymous - before.anonymous, self.file - before.file, self.peak - before.resident
        )


def _cpu(cpuinfo: str) -> str:
    names = (
        line.split(":", 1)[1] for line in cpuinfo.splitlines() if line.startswith("model name")
    )
    return next(names, platform.processor() or platform.machine()).strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
