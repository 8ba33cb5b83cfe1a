"""The machine a figure was taken on, in a line or two."""

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
    """Processor, cores this process may use, memory in bytes, and versions by name."""

    cpu: str
    cores: int
    memory: int
    load: float
    system: str
    versions: dict[str, str]

    @classmethod
    def here(cls, packages: Iterable[str]) -> Machine:
        """This machine now, with the versions of these packages."""
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
        """In words."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory / 2**30:.0f} GiB, {self.system}, "
            f"load {self.load:.1f} before the start; {versions}."
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
