"""Published lists of any format: text, trials of FAME, pickles of vfal-eva."""

from __future__ import annotations

from pathlib import Path

from trainer.protocols.fame import Unlabelled, is_fame, read_fame
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Protocol
from trainer.protocols.vfal_pickle import read_trials
from trainer.protocols.voxceleb_people import People

PICKLES = (".pkl", ".pickle")


def read_published(path: Path, people: People) -> list[Protocol] | Unlabelled:
    """Return the protocols of a file, or trials without labels; the content decides the format.

    Raises:
        BadRequest: The file has none of the formats, or a line is wrong.
    """
    if path.suffix in PICKLES:
        return read_trials(path, people)
    return read_fame(path) if is_fame(path) else [read_list(path, people)]
