"""What a search asks one revision of the catalog, in SQLite's own words.

A query is often all that a process does, and importing SQLAlchemy takes longer than answering it.
So a :class:`Lookup` needs the driver alone; everything else is asked through
:class:`indexer.catalog.reader.Reader`, which is one too.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import IndexDamaged, printable
from indexer.records import Counts, Item, Person, Revision
from indexer.types import Box, Ids, Modality, Space, Vectors
from indexer.unicode_names import normalised

NOTE = "note:"  # what the keys of notes in the table meta begin with
LOWEST = 2**31 - 1  # the bits of squares that are summed: no sum of them overflows

# One parameter, however many values; a name may hold what SQLite cannot be handed as text.
_LISTED = "IN (SELECT value FROM json_each(?))"
_PERSON = "person.key, person.name, person.gender, person.nationality, person.attributes"
_ITEMS = f"""
SELECT item.id, item.modality, item.start_s, item.end_s, item.box, file.path, {_PERSON}
FROM item JOIN file ON item.file_id = file.id JOIN person ON item.person_id = person.id
WHERE item.id {_LISTED}"""
_OWNERS = """
SELECT count(DISTINCT person_id), count(*) FILTER (WHERE modality = 'face'),
       count(*) FILTER (WHERE modality = 'voice')
FROM item"""
_FILES = "SELECT count(id) FROM file"
_REFUSED = f"{_FILES} WHERE status = 'refused'"
_ITEMS_OF = (
    f"SELECT item.id FROM item JOIN person ON item.person_id = person.id WHERE key {_LISTED}"
)


class Lookup:
    """The catalog as of one revision; lives as long as its transaction."""

    def __init__(self, driver: sqlite3.Connection, path: Path, space: Space) -> None:
        self._driver = driver
        self._path = path
        self.space = space

    def revision(self) -> Revision:
        """The state that is being read."""
        newest = "SELECT number, at FROM revision ORDER BY number DESC LIMIT 1"
        return Revision(*self._rows(newest)[0])

    def knows(self, past: Revision) -> bool:
        """Whether this catalog once was in that very state."""
        same = "SELECT 1 FROM revision WHERE number = ? AND at = ?"
        return bool(self._rows(same, past.number, past.at))

    def notes(self) -> dict[str, str]:
        """What was noted of the index as a whole."""
        rows = self._rows("SELECT key, value FROM meta")
        return {key.removeprefix(NOTE): value for key, value in rows if key.startswith(NOTE)}

    def counts(self) -> Counts:
        """Totals, told from indexes alone."""
        ((people, faces, voices),) = self._rows(_OWNERS)
        ((files,),), ((refused,),) = self._rows(_FILES), self._rows(_REFUSED)
        return Counts(people, faces, voices, files - refused, refused)

    def keys_of(self, name: str) -> list[str]:
        """The keys that are this name in any Unicode form, the one in NFC first.

        There is more than one in a catalog of an earlier version only.
        """
        exact = self._rows(f"SELECT key FROM person WHERE key {_LISTED}", _json([name]))
        if exact and name.isascii():
            return [name]
        alike = [key for key in self._further_keys() if normalised(key) == normalised(name)]
        return sorted({*(key for (key,) in exact), *alike}, key=lambda key: key != normalised(key))

    def unnormalised_keys(self) -> list[str]:
        """The keys that an earlier version left in another form than NFC."""
        return [key for key in self._further_keys() if normalised(key) != key]

    def _further_keys(self) -> list[str]:
        """The keys with letters beyond ASCII."""
        return [key for (key,) in self._rows("SELECT key FROM person WHERE key GLOB '*[^ -~]*'")]

    def person(self, key: str) -> Person | None:
        """Somebody by key, also one whose files were all refused; None for nobody."""
        keys = _json(self.keys_of(key)[:1])
        rows = self._rows(f"SELECT {_PERSON} FROM person WHERE key {_LISTED}", keys)
        return _person(*rows[0]) if rows else None

    def people(self) -> dict[int, Person]:
        """Everybody by row number, those whose files were all refused too."""
        rows = self._rows(f"SELECT id, {_PERSON} FROM person ORDER BY key")
        return {number: _person(*who) for number, *who in rows}

    def tallies(self) -> tuple[Ids, Ids, Ids]:
        """Of everybody who has items: row number, the sum of their ids, and of their squares.

        Of each square the lowest bits are taken. The index of the people is all that is read.
        """
        squares = f"sum((id * id) & {LOWEST})"
        rows = self._rows(f"SELECT person_id, sum(id), {squares} FROM item GROUP BY person_id")
        people, sums, mixed = np.array(rows, np.int64).reshape(-1, 3).T
        return people, sums, mixed

    def owners(self) -> tuple[Ids, Ids, NDArray[np.bool_]]:
        """Of every item, by number: its id, its person's row number, whether it is a face."""
        rows = self._rows("SELECT id, person_id, modality = 'face' FROM item ORDER BY id")
        ids, people, faces = np.ascontiguousarray(np.array(rows, np.int64).reshape(-1, 3).T)
        return ids, people, faces.astype(bool)

    def items_of_rows(self, people: Ids) -> tuple[Ids, Ids]:
        """Ids of the items of people given by row number, ascending, and whose each is."""
        theirs = f"SELECT id, person_id FROM item WHERE person_id {_LISTED}"
        rows = np.array(self._rows(theirs, _json(people.tolist())), np.int64).reshape(-1, 2)
        ids, owners = rows[np.argsort(rows[:, 0])].T
        return np.ascontiguousarray(ids), np.ascontiguousarray(owners)

    def content(self, ids: Ids) -> tuple[Ids, Ids, NDArray[np.bool_], Vectors]:
        """Of these items, ascending: ids, row numbers of people, whether a face, and vectors.

        Raises IndexDamaged where a vector is not of the space's size or not finite.
        """
        among, values = _among(ids)
        wanted = "SELECT id, person_id, modality = 'face', vector FROM item"
        rows = self._rows(f"{wanted} WHERE id {among} ORDER BY id", *values)
        found, people, faces, blobs = zip(*rows, strict=True) if rows else ((), (), (), ())
        return (
            np.array(found, np.int64),
            np.array(people, np.int64),
            np.array(faces, bool),
            self.checked_vectors(found, blobs),
        )

    def items(self, ids: Ids) -> dict[int, Item]:
        """What is known of these items."""
        people: dict[str, Person] = {}
        found = {}
        for row in self._rows(_ITEMS, _json(ids.tolist())):
            number, modality, start_s, end_s, box, path, *who = row
            owner = people.get(who[0]) or people.setdefault(who[0], _person(*who))
            where = None if box is None else Box(*json.loads(box))
            found[number] = Item(number, owner, Path(path), modality, start_s, end_s, where)
        return found

    def vectors(self, ids: Ids) -> Vectors:
        """(n, dim) vectors of these items, as the model made them, in the order of the ids.

        Raises IndexDamaged where one is not of the space's size or not finite.
        """
        wanted = f"SELECT id, vector FROM item WHERE id {_LISTED}"
        held = dict(self._rows(wanted, _json(ids.tolist())))
        return self.checked_vectors(ids.tolist(), [held[number] for number in ids.tolist()])

    def items_of(self, key: str, modality: Modality | None = None) -> Ids:
        """Ids of a person's items, in order."""
        also, values = ("", ()) if modality is None else (" AND modality = ?", (modality,))
        keys = _json(self.keys_of(key))
        rows = self._rows(f"{_ITEMS_OF}{also} ORDER BY item.id", keys, *values)
        return np.array([number for (number,) in rows], np.int64)

    def checked_vectors(self, ids: Sequence[int], blobs: Sequence[bytes]) -> Vectors:
        """(n, dim) vectors of items from their bytes; raises IndexDamaged as :meth:`vectors`."""
        size = 4 * self.space.dim
        whole = all(len(blob) == size for blob in blobs)
        vectors = np.frombuffer(b"".join(blobs), "<f4") if whole else np.empty(0, np.float32)
        if not whole or not np.isfinite(vectors).all():
            self._refuse(ids, blobs)
        return vectors.reshape(-1, self.space.dim)

    def _rows(self, statement: str, *values: str | int) -> list[Any]:
        """All rows of an answer: a cursor left open would keep its revision."""
        return self._driver.execute(statement, values).fetchall()

    def _refuse(self, ids: Sequence[int], blobs: Sequence[bytes]) -> None:
        faults = (
            (number, vector_fault(b, self.space.dim)) for number, b in zip(ids, blobs, strict=True)
        )
        number, fault = next(each for each in faults if each[1])
        raise IndexDamaged(
            f"{printable(self._path)}: the vector of item {number} {fault}; "
            f"run avsearch verify to see what else is wrong."
        )


def vector_fault(blob: bytes, dim: int) -> str | None:
    """What is wrong with the bytes of a vector, or None."""
    if len(blob) != 4 * dim:
        return f"has {len(blob)} bytes where its space has {4 * dim}"
    if not np.isfinite(np.frombuffer(blob, "<f4")).all():
        return "is not finite"
    return None


def _json(values: Collection[str] | Collection[int]) -> str:
    """Values as :data:`_LISTED` takes them."""
    return json.dumps(list(values))


def _among(ids: Ids) -> tuple[str, tuple[str | int, ...]]:
    """What selects items by their numbers, ascending; numbers that follow each other as a range."""
    if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
        return "BETWEEN ? AND ?", (int(ids[0]), int(ids[-1]))
    return _LISTED, (_json(ids.tolist()),)


def _person(
    key: str, name: str | None, gender: str | None, nationality: str | None, attributes: str
) -> Person:
    """A person from columns as the driver gives them."""
    return Person(key, name, gender, nationality, json.loads(attributes))
