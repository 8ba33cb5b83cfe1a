"""A file that is being read and embedded, and the record it becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from indexer.ingest.diff import FileJob
from indexer.ingest.read_file import End
from indexer.ingest.subjects import Contest, Verdict
from indexer.records import FileRecord, NewItem, SourceKey, map_people
from indexer.types import MODALITIES

NOTHING = "nothing was found in it."


@dataclasses.dataclass(slots=True)
class FileInProgress:
    """A file between its first item and its transaction, with its items so far."""

    job: FileJob
    items: list[NewItem] = dataclasses.field(default_factory=list)
    found: list[NewItem] = dataclasses.field(default_factory=list)  # to be merged and separated
    contests: list[Contest] = dataclasses.field(default_factory=list)
    basis: str | None = None  # of the choice between its people
    notes: list[str] = dataclasses.field(default_factory=list)  # on that choice
    waiting: int = 0  # pieces not embedded yet
    taken: set[SourceKey] = dataclasses.field(default_factory=set)
    # Reasons of sources without items, and whether they are permanent.
    faults: dict[SourceKey, tuple[str, bool]] = dataclasses.field(default_factory=dict)
    end: End | None = None

    @property
    def same(self) -> bool:
        """True if its bytes are known."""
        return self.end is not None and self.end.same

    @property
    def moved(self) -> FileRecord | None:
        """The known file that it was under another path."""
        return None if self.end is None else self.end.moved

    @property
    def sha256(self) -> str:
        """The hash of its bytes, empty before it was read."""
        return "" if self.end is None else self.end.sha256

    def refuse(self, key: SourceKey, reason: str, *, permanent: bool = True) -> None:
        """Note why a source gave no item; the first reason counts."""
        self.faults.setdefault(key, (reason, permanent))

    def close(self, verdicts: Sequence[Verdict], basis: str) -> None:
        """Take the items of the verdicts; a source left without any is refused."""
        self.basis = basis
        for verdict in verdicts:
            self.items += verdict.taken
        for source in self.job.sources:
            wanted = (source.modality,) if source.modality else MODALITIES
            sentences = [
                verdict.sentence
                for contest, verdict in zip(self.contests, verdicts, strict=True)
                if contest.person == source.person and contest.modality in wanted
            ]
            if any(one.person == source.person and one.modality in wanted for one in self.items):
                self.notes += sentences
            elif sentences and not source.ranged:
                self.taken.discard(source.key)
                self.refuse(source.key, " ".join(sentences))

    def record(self) -> FileRecord:
        """Return the record of the file, once it is complete."""
        taken = self.job.record(self.sha256)
        if self.moved is not None:
            return _moved_record(self.moved, taken)
        if self.basis is not None:
            taken = taken.with_basis(self.basis)
        nothing = (NOTHING, True)
        broken = self.end.faults.keys() if self.end is not None else ()
        missed = {
            source.key: self.faults.get(source.key, nothing)
            for source in self.job.sources
            if source.key not in self.taken or source.key in broken  # broken: not read to the end
        }
        permanent = all(permanent for _, permanent in missed.values())
        if self.items:
            faults = frozenset((key, reason) for key, (reason, _) in missed.items())
            extracted = () if self.end is None else self.end.notes
            notes = tuple(note for note in dict.fromkeys((*extracted, *self.notes)) if note)
            return dataclasses.replace(taken, faults=faults, permanent=permanent, notes=notes)
        reason, _ = next(iter(self.faults.values()), nothing)
        return dataclasses.replace(taken, reason=reason, permanent=permanent)


def _moved_record(before: FileRecord, now: FileRecord) -> FileRecord:
    """Return the record of a moved file: the new path and people, the rest as it was."""
    new_keys = map_people(before.source_keys, now.source_keys) or {}
    faults = frozenset(
        ((new_keys[who], modality, start_s, end_s), reason)
        for (who, modality, start_s, end_s), reason in before.faults
    )
    return dataclasses.replace(now, settings=before.settings, faults=faults, notes=before.notes)
