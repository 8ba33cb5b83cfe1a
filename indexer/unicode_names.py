"""Names in one Unicode form.

macOS and some NAS write ``ë`` as ``e`` and a combining mark (NFD), nearly everything else as one
letter (NFC). Names are stored and compared in NFC; paths stay as they are on disk.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

_PLAIN_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2007\u202f", " "))  # non-breaking spaces
# Invisible characters at the ends of texts copied from a page or a file manager.
_UNSEEN = "\ufeff\u200b\u200e\u200f\u2060\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def normalised(text: str) -> str:
    """Return a name in NFC, with plain spaces in place of non-breaking ones."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text.translate(_PLAIN_SPACES))


def same_name(first: str, second: str) -> bool:
    """Return whether two names are equal in NFC."""
    return normalised(first) == normalised(second)


def cleaned(text: str) -> str:
    """Return a cell in NFC, without blanks and invisible characters at its ends."""
    bare = text.strip()
    if bare.isascii():
        return bare
    while bare != (stripped := bare.strip(_UNSEEN).strip()):
        bare = stripped
    return normalised(bare)


def spellings(name: str) -> list[str]:
    """Return the Unicode forms of a name, its own first."""
    return list(dict.fromkeys((name, *(unicodedata.normalize(f, name) for f in ("NFC", "NFD")))))


class DiskNames:
    """Finds files by names in another Unicode form than on disk."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, str]] = {}

    def find(self, path: Path) -> Path:
        """Return the path as it is on disk; the path itself if there is no such file."""
        if str(path).isascii() or os.path.lexists(path):
            return path
        found = Path(path.anchor)
        for name in path.relative_to(path.anchor).parts:
            step = found / name
            if not os.path.lexists(step):
                step = found / self._names(found).get(normalised(name), name)
            found = step
        return found if os.path.lexists(found) else path

    def _names(self, folder: Path) -> dict[str, str]:
        """Return the names in a folder by their NFC form."""
        if folder not in self._folders:
            try:
                names = sorted(path.name for path in folder.iterdir())
            except OSError:
                names = []
            self._folders[folder] = {normalised(name): name for name in names}
        return self._folders[folder]
