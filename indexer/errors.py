"""Every error a user can cause, drawn once.

::

    AvsearchError                 the root; ``exit_code`` is what the command line ends with
    ├── RefusedFile         (2)   one file cannot be used; it is listed and stops nothing
    ├── BadRequest          (2)   the request or its input is wrong
    │   ├── NotInFile       (2)   a part of a file that it does not have; a RefusedFile too
    │   ├── NoIndex         (2)   there is no index here
    │   ├── IndexBusy       (2)   somebody else is writing to this index
    │   ├── LibraryUnusable (2)   a library is not installed, or does not load
    │   └── Diverged        (2)   a training came to numbers that are not finite
    └── IndexUnusable       (4)   the index cannot serve this request
        ├── IndexDamaged    (4)   a file of the index is cut short, changed or not ours
        ├── LaterIndex      (4)   its tables are of a later version of avsearch
        └── ForeignSpace    (4)   the vectors were made by another model

A message is one sentence or two: what is wrong, with which file, and what to do. An error
that no user can cause is not in this tree and is not caught anywhere. All of them can be copied
and pickled, so that they come back whole from other processes.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any, TypeVar

Error = TypeVar("Error", bound=BaseException)

# A path has one slash where an address has two, and the working folder may stand before it.
_ADDRESS = re.compile(
    r"^[a-z][a-z0-9+.-]+://|(?:^|/)(?:https?|ftps?|sftp|s3|gs|az|hdfs|rtsp|smb|dav|file|data):/",
    re.IGNORECASE,
)
# What is said of an address where a file belongs.
ADDRESS = "is an address, and only files are taken; download it first, and name the file."
# What helps where the number of a system's error tells it; nothing is advised where it does not.
_HELPS = {
    errno.EACCES: "change its permissions, or ask its owner",
    errno.EPERM: "change its permissions, or ask its owner",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ELOOP: "mend the link",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EROFS: "choose another disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "free memory",
}


class AvsearchError(Exception):
    """Root of the errors a user can cause."""

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own calls the class with the message, which is not what every class takes.
        return _restored, (type(self), self.args), self.__dict__


class RefusedFile(AvsearchError):
    """One file cannot be used, for a reason its owner understands.

    ``lasting`` says whether the reason lies in the file's bytes, so that asking again is
    useless until they change. A missing permission is not lasting.
    """

    def __init__(self, path: Path | str, reason: str, *, lasting: bool = True) -> None:
        path = Path(path)
        super().__init__(f"{printable(path)}: {reason}")
        self.path = path
        self.reason = reason
        self.lasting = lasting


class BadRequest(AvsearchError):
    """The request or its input is wrong."""


class NotInFile(RefusedFile, BadRequest):
    """A part of a file was asked for that it does not have."""


class NoIndex(BadRequest):
    """There is no index where one was looked for."""


class IndexBusy(BadRequest):
    """Another process is writing to this index."""


class LibraryUnusable(BadRequest):
    """A library is not installed, or does not load."""


class Diverged(BadRequest):
    """A training came to numbers that are not finite, by its data or its rates."""


class IndexUnusable(AvsearchError):
    """The index cannot serve this request."""

    exit_code = 4


class IndexDamaged(IndexUnusable):
    """A file of the index is cut short, changed, or not an index at all."""


class LaterIndex(IndexUnusable):
    """The index has the tables of a later version of avsearch."""


class ForeignSpace(IndexUnusable):
    """The vectors at hand and those of the index were made by different models."""


def os_reason(error: OSError, advice: str = "") -> str:
    """Return what the system says of an error, and what helps, without a full stop.

    ``advice`` is what helps whatever the error is.
    """
    helps = [each for each in (_HELPS.get(error.errno or 0), advice) if each]
    return "; ".join(filter(None, [error.strerror or str(error), ", or ".join(helps)]))


def _restored(kind: type[Error], args: tuple[object, ...]) -> Error:
    """An error with these arguments, its attributes still to be set."""
    return kind.__new__(kind, *args)


def is_address(text: str) -> bool:
    """Whether a text is an address such as ``https://...``, also once a path was made of it."""
    return _ADDRESS.search(text) is not None


def is_utf8(path: Path) -> bool:
    """Whether the name of a file is UTF-8, as databases and other programs need it."""
    return printable(path) == str(path)


def printable(path: Path) -> str:
    """A path as text that any terminal and any JSON reader takes.

    Bytes of the name that are not UTF-8 are written as ``\\xNN``.
    """
    raw = str(path).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
