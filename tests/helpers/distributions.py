"""Distributions as pip leaves them in a folder, made for a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def install(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    requires: Sequence[str] = (),
) -> None:
    """Put a distribution's files and metadata into a folder of libraries."""
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    facts = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    (facts / "METADATA").write_text("\n".join(lines) + "\n", "utf-8")
    (facts / "RECORD").write_text("".join(f"{path},,\n" for path in files), "utf-8")
