"""Any published list, told by its content: text, trials of FAME, pickles of vfal-eva."""

from __future__ import annotations

from pathlib import Path

from trainer.protocols.fame import Unlabelled, is_fame, read_fame
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Protocol
from trainer.protocols.vfal_pickle import read_trials
from trainer.protocols.voxceleb_people import People

PICKLES = (".pkl", ".pickle")


def read_published(path: Path, people: People) -> list[Protocol] | Unlabelled:
    """The protocols of a file, or trials whose answers only the organisers know.

    Raises BadRequest, with file and line, for what is none of the formats or not as it should be.
    """
    if path.suffix in PICKLES:
        return read_trials(path, people)
    return read_fame(path) if is_fame(path) else [read_list(path, people)]
