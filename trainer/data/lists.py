"""Text files of published lists, plain or compressed."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from indexer.errors import BadRequest, printable


def read_list(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, plain or compressed with gzip by its name.

    Raises BadRequest for a file that cannot be read, is cut short or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        return text.decode("utf-8-sig").splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise BadRequest(f"{printable(path)} cannot be read or is cut short: {error}.") from error
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"{printable(path)} is not UTF-8 (byte {error.start}); save it as UTF-8."
        ) from error
