"""Sentences on libraries that are not installed or do not load.

A sentence contains facts only: the message of the loader, installed versions, and the versions that
the metadata of distributions require. They are looked up only after an error.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import mmap
import re
import sys
import traceback
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_US: Final = "avsearch"
_OUR_MODULES: Final = {_US, "indexer", "trainer", "benchmarks", "tools"}
# Distributions of modules with another name; only installed ones can be looked up.
_DISTRIBUTIONS: Final = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "faiss": "faiss-cpu",
    "pympi": "pympi-ling",
    "sklearn": "scikit-learn",
    "webvtt": "webvtt-py",
}
_ABSENT_FILE: Final = re.compile(r"([^\s:/]+): cannot open shared object file")
_UNDEFINED_IN: Final = re.compile(r"(/.*?): undefined symbol")


def load_failure(error: BaseException) -> str | None:
    """Return a sentence about the library whose import raised an error; None for other errors."""
    owners = _Owners()
    frames = [frame for each in _causes(error) for frame in owners.frames(each)]
    if (absent := absent_module(error)) is not None:
        return _absence(absent, frames[-1][0] if frames else None)
    bodies = [at for at, (_, is_body) in enumerate(frames) if is_body]
    name, partners = _owner_of_file(error), owners.named(error)
    if bodies:  # raised in the import of a library, perhaps by a function it called
        name = name or frames[bodies[-1]][0]
        partners += [owner for owner, _ in frames[bodies[-1] :]]
    elif name is None and isinstance(error, ImportError) and partners:
        name, partners = partners[0], [_US]  # it lacks a name that we import
    if name is None:
        return None
    reason = _first_line(list(_causes(error))[-1])
    partners += [each.name for each in _unmet(_requirements(name))]
    partners += owners.mentioned(reason, name) + _linked(reason, name)
    return _failure(name, [each for each in dict.fromkeys(partners) if each != name], reason)


def absent_module(error: BaseException) -> str | None:
    """Return the module of a library that an error finds missing; None where the library is there.

    In a namespace of several distributions, it is the module in the namespace.
    """
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    top = _top(error.name)
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None if top in _OUR_MODULES else top
    return error.name if spec.origin is None else None


def _failure(name: str, partners: Sequence[str], reason: str) -> str:
    """Return a sentence on a distribution that does not load with others."""
    said = f"{_versioned(name)} does not load"
    if partners:
        said += f" with {' and '.join(map(_versioned, partners))}"
    said += f" ({reason})"
    if absent := _ABSENT_FILE.search(reason):
        return f"{said}; install what has {absent[1]}."
    named = {name, *partners}
    ours = [each for extra in _extras() for each in _requirements(_US, extra) if each.name in named]
    for user, requirements in ((name, _requirements(name)), (_US, ours)):
        for each in dict.fromkeys(f"{one.name}{one.specifier}" for one in _unmet(requirements)):
            said += f"; {user} needs {each}"
    force = "" if partners else "--force-reinstall "
    names = " ".join(each for each in (name, *partners) if each != _US)
    return (
        f"{said}. The constraints.txt of {_US} names versions that were tested together: "
        f"pip install {force}-c constraints.txt {names}."
    )


def _absence(module: str, user: str | None) -> str:
    """Return a sentence on a missing module and its user; None stands for avsearch."""
    if module in sys.stdlib_module_names:
        return f"{sys.executable} has no module {module}, a part of Python; use one that has it."
    if user is not None:
        lacking = [each.name for each in _requirements(user) if _version(each.name) is None]
        advice = f": pip install {' '.join(lacking)}" if lacking else ""
        return f"{_versioned(user)} needs {module}, which is not installed{advice}."
    name = canonicalize_name(_DISTRIBUTIONS.get(_top(module), module))
    extras = [e for e in _extras() for each in _requirements(_US, e) if each.name == name]
    what = f"'{_US}[{extras[0]}]'" if extras and extras[0] else name
    return f"this needs {module}, which is not installed: pip install {what}."


class _Owners:
    """The distributions of modules and frames."""

    def __init__(self) -> None:
        found = importlib.metadata.packages_distributions()
        self._by_module = {
            top: str(canonicalize_name(names[0]))
            for top, names in found.items()
            if top not in sys.stdlib_module_names and top not in _OUR_MODULES
        }

    def frames(self, error: BaseException) -> list[tuple[str, bool]]:
        """Return the owner of each frame below our last one, and whether it is a module's body."""
        found: list[tuple[str, bool]] = []
        for frame, _ in traceback.walk_tb(error.__traceback__):
            top = _top(str(frame.f_globals.get("__name__", "")))
            if top in _OUR_MODULES:
                found.clear()
            elif top in self._by_module:
                found.append((self._by_module[top], frame.f_code.co_name == "<module>"))
        return found

    def named(self, error: BaseException) -> list[str]:
        """Return the owner of the module in which an error misses a name."""
        module: Any = None
        if isinstance(error, ImportError) and "cannot import name" in str(error):
            module = error.name
        elif isinstance(error, AttributeError) and isinstance(error.obj, types.ModuleType):
            module = error.obj.__name__
        owner = self._by_module.get(_top(module or ""))
        return [] if owner is None else [owner]

    def mentioned(self, reason: str, name: str) -> list[str]:
        """Return requirements of a distribution that an error mentions, except in paths."""
        words = set(re.findall(r"\w+", re.sub(r"\S*/\S*", "", reason).lower()))
        required = {each.name for each in _requirements(name)}
        return [
            owner
            for top, owner in self._by_module.items()
            if owner in required and top.lower() in words
        ]


def _owner_of_file(error: BaseException) -> str | None:
    """Return the owner of the compiled module of an error."""
    path = error.path if isinstance(error, ImportError) else None
    if path is None or path.endswith(".py"):
        return None
    for each in importlib.metadata.distributions():
        if any(Path(str(file.locate())) == Path(path) for file in each.files or []):
            return str(canonicalize_name(each.metadata["Name"]))
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _linked(reason: str, name: str) -> list[str]:
    """Return requirements whose libraries the file with an undefined symbol needs."""
    found = _UNDEFINED_IN.search(reason)
    if found is None or not Path(found[1]).is_file():
        return []
    with (
        Path(found[1]).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return [
            each.name
            for each in _requirements(name)
            if any(content.find(library.encode()) >= 0 for library in _shared_libraries(each.name))
        ]


def _shared_libraries(name: str) -> list[str]:
    """Return the names of the shared libraries of a distribution."""
    files = [] if _version(name) is None else importlib.metadata.files(name) or []
    return [file.name for file in files if file.name.startswith("lib") and ".so" in file.name]


def _requirements(name: str, extra: str = "") -> list[Requirement]:
    """Return the requirements of a distribution, without or with an extra."""
    texts = [] if _version(name) is None else importlib.metadata.requires(name) or []
    found = []
    for requirement in map(Requirement, texts):
        requirement.name = canonicalize_name(requirement.name)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            found.append(requirement)
    return found


def _extras() -> list[str]:
    """Return the empty text for no extra, and each of our extras."""
    if _version(_US) is None:
        return []
    return ["", *(importlib.metadata.metadata(_US).get_all("Provides-Extra") or [])]


def _unmet(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Return the requirements of which another version is installed."""
    return [
        each
        for each in requirements
        if (version := _version(each.name)) is not None
        and not each.specifier.contains(version, prereleases=True)
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versioned(name: str) -> str:
    return f"{name} {_version(name)}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__


def _top(module: str) -> str:
    return module.partition(".")[0]
