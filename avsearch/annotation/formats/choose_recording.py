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

_MAX_LISTED: Final = 10  # ids in a message
_UPLOADED: Final = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio's prefix of a file's name


@dataclasses.dataclass(frozen=True, slots=True)
class RecordingChoice:
    """The recording whose turns are wanted.

    Attributes:
        name: The stem of its file, if known.
        chosen: The id that the user gave in its place, if any.
    """

    name: str | None = None
    chosen: str | None = None

    def matches(self, name: str) -> bool:
        """Return True if a path or an address could be that of the recording."""
        wanted = self.name if self.chosen is None else self.chosen
        return wanted is not None and bool(_matching(wanted, [name]))

    def select(self, ids: Sequence[str]) -> tuple[str, list[str]]:
        """Return the id of the recording, with notes.

        An id is the name itself, or a path or an address of a file of that name. A single id is
        taken whatever it is, with a note.

        Raises:
            BadRequest: No id, or more than one, is that of the recording; lists the ids.
        """
        ids = list(dict.fromkeys(ids))
        wanted = self.name if self.chosen is None else self.chosen
        found = [] if wanted is None else _matching(wanted, ids)
        if len(found) == 1:
            return found[0], []
        if len(found) > 1:
            raise BadRequest(
                f"{_listed(found)} are all called {wanted!r}; choose one with --recording."
            )
        if self.chosen is not None:
            raise BadRequest(f"it has no recording {self.chosen!r}; it is of {_listed(ids)}.")
        if len(ids) == 1:
            if wanted is None:
                return ids[0], []
            note = f"The turns say that they are of {ids[0]!r}; they were taken for {wanted!r}."
            return ids[0], [note]
        if wanted is None:
            raise BadRequest(
                f"it is of {len(ids)} recordings; say which with --recording: {_listed(ids)}."
            )
        raise BadRequest(
            f"it is of {_listed(ids)} and not of {wanted}; choose one with --recording."
        )


def _matching(wanted: str, ids: Sequence[str]) -> list[str]:
    """Return the id that is a name, or else all those that are files of this name."""
    if wanted in ids:
        return [wanted]
    return [each for each in ids if _folded(wanted) in map(_folded, _names(each))]


def _names(file: str) -> list[str]:
    """Return the names that a path or an address could give a recording, with and without suffix.

    Those of local files of Label Studio are in the query of an address.
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


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_LISTED} more" if len(ids) > _MAX_LISTED else ""
    return ", ".join(ids[:_MAX_LISTED]) + more
