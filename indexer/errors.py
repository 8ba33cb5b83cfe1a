"""Errors that a user can cause.

::

    AvsearchError                 the root; ``exit_code`` is that of the command line
    ├── RefusedFile         (2)   one file cannot be used; the others can
    ├── BadRequest          (2)   the request or its input is wrong
    │   ├── NotInFile       (2)   a part that a file does not have; a RefusedFile too
    │   ├── NoIndex         (2)   there is no index here
    │   ├── IndexBusy       (2)   another process is writing to this index
    │   ├── LibraryUnusable (2)   a library is not installed, or does not load
    │   └── Diverged        (2)   a training reached numbers that are not finite
    └── IndexUnusable       (4)   the index cannot serve this request
        ├── IndexDamaged    (4)   a file of the index is cut short, changed or foreign
        ├── LaterIndex      (4)   its tables are of a later version of avsearch
        └── ForeignSpace    (4)   the vectors were made by another model

A message is one sentence or two: what is wrong, with which file, and what to do. An error that no
user can cause is not in this tree and is caught nowhere. All can be copied and pickled, so that
they cross processes.
"""

from __future__ import annotations

import copyreg
import errno
import re
from pathlib import Path
from typing import Any

# A path made of an address has one slash instead of two, and perhaps a folder in front.
_ADDRESS = re.compile(
    r"^[a-z][a-z0-9+.-]+://|(?:^|/)(?:https?|ftps?|sftp|s3|gs|az|hdfs|rtsp|smb|dav|file|data):/",
    re.IGNORECASE,
)
# The fault of an address in place of a file.
ADDRESS = "is an address, and only files are taken; download it first, and name the file."
# Advice by the number of a system error; there is none for others.
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
        # The inherited one calls the class with the message, which not every class takes.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class RefusedFile(AvsearchError):
    """One file cannot be used, for a reason that its owner understands.

    Attributes:
        path: the file.
        reason: a sentence without the path.
        permanent: True if the reason lies in the bytes of the file, so that a new attempt is
            useless until they change. A missing permission is not permanent.
    """

    def __init__(self, path: Path | str, reason: str, *, permanent: bool = True) -> None:
        path = Path(path)
        super().__init__(f"{printable(path)}: {reason}")
        self.path = path
        self.reason = reason
        self.permanent = permanent


class BadRequest(AvsearchError):
    """The request or its input is wrong."""


class NotInFile(RefusedFile, BadRequest):
    """A file does not have the requested part."""


class NoIndex(BadRequest):
    """There is no index where one was looked for."""


class IndexBusy(BadRequest):
    """Another process is writing to this index."""


class LibraryUnusable(BadRequest):
    """A library is not installed, or does not load."""


class Diverged(BadRequest):
    """A training reached numbers that are not finite, by its data or its learning rates."""


class IndexUnusable(AvsearchError):
    """The index cannot serve this request."""

    exit_code = 4


class IndexDamaged(IndexUnusable):
    """A file of the index is cut short, changed, or not an index at all."""


class LaterIndex(IndexUnusable):
    """The tables of the index are of a later version of avsearch."""


class ForeignSpace(IndexUnusable):
    """The vectors at hand and those of the index are of different models."""


def os_reason(error: OSError, advice: str = "") -> str:
    """Return the system's message and advice on it, without a full stop.

    ``advice`` is added whatever the error is.
    """
    helps = [each for each in (_HELPS.get(error.errno or 0), advice) if each]
    return "; ".join(filter(None, [error.strerror or str(error), ", or ".join(helps)]))


def is_address(text: str) -> bool:
    """Return whether a text is an address such as ``https://...``, or a path made of one."""
    return _ADDRESS.search(text) is not None


def is_utf8(path: Path) -> bool:
    """Return whether a path is UTF-8, as databases and other programs require."""
    return printable(path) == str(path)


def printable(path: Path) -> str:
    r"""Return a path as text that any terminal and any JSON reader accepts.

    Bytes of the name that are not UTF-8 are written as ``\xNN``.
    """
    raw = str(path).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")
