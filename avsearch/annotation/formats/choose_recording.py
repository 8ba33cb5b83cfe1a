"""The choice of one recording among several of a file of turns."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from indexer.errors import BadRequest
from indexer.unicode_names import normalised

_SHOWN: Final = 10  # ids that a message lists
_UPLOADED: Final = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before a file's name


@dataclasses.dataclass(frozen=True, slots=True)
class RecordingChoice:
    """The recording whose turns are wanted.

    ``name`` is the stem of its file, ``chosen`` the id that the user gave in its place; either
    may be None.
    """

    name: str | None = None
    chosen: str | None = None

    def is_called(self, name: str) -> bool:
        """Return whether a path or an address could be that of the wanted recording."""
        asked = self.name if self.chosen is None else self.chosen
        return asked is not None and bool(_called(asked, [name]))

    def among(self, ids: Sequence[str]) -> tuple[str, list[str]]:
        """Return the one of some ids that is wanted, with notes.

        An id is the name itself, or a path or an address of a file of that name. A single id is
        taken whatever it is, with a note. Raises BadRequest, which lists the ids, otherwise.
        """
        ids = list(dict.fromkeys(ids))
        asked = self.name if self.chosen is None else self.chosen
        found = [] if asked is None else _called(asked, ids)
        if len(found) == 1:
            return found[0], []
        if len(found) > 1:
            raise BadRequest(
                f"{_listed(found)} are all called {asked!r}; choose one with --recording."
            )
        if self.chosen is not None:
            raise BadRequest(f"it has no recording {self.chosen!r}; it is of {_listed(ids)}.")
        if len(ids) == 1:
            same = asked is None
            return ids[0], [] if same else [_other(ids[0], asked)]
        if asked is None:
            raise BadRequest(
                f"it is of {len(ids)} recordings; say which with --recording: {_listed(ids)}."
            )
        raise BadRequest(
            f"it is of {_listed(ids)} and not of {asked}; choose one with --recording."
        )


def _called(asked: str, ids: Sequence[str]) -> list[str]:
    """Return the id that is a name, or else all those that are files of this name."""
    if asked in ids:
        return [asked]
    return [each for each in ids if _folded(asked) in map(_folded, _names(each))]


def _names(file: str) -> list[str]:
    """Return the names that a path or an address could give a recording, with and without suffix.

    Those of local files of Label Studio stand behind a question mark.
    """
    try:
        address = urllib.parse.urlsplit(file)
    except ValueError:  # such as a bracket that is not closed
        return [file]
    behind = [value for _, value in urllib.parse.parse_qsl(address.query)]
    names = [re.split(r"[/\\]", each)[-1] for each in (file, address.path, *behind)]
    names += [urllib.parse.unquote(each) for each in names]
    names += [_UPLOADED.sub("", each, count=1) for each in names if _UPLOADED.match(each)]
    return [*names, *(PurePosixPath(each).stem for each in names)]


def _folded(name: str) -> str:
    """Return a name without what programs change in it: normal form, case and blanks."""
    return re.sub(r"[\s_]+", "_", normalised(name).casefold())


def _other(found: str, asked: str | None) -> str:
    return f"The turns say that they are of {found!r}; they were taken for {asked!r}."


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
