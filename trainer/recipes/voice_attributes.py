"""P2VANet's private attributes of voices: openSMILE's IS09 emotion set, 384 values a file.

``python -m trainer.recipes.voice_attributes --data PLACE --out voices.safetensors`` writes the
table that ``avsearch train --voice-private`` takes, for the same places: 12 functionals of each of
16 descriptors and their deltas (Schuller et al., Interspeech 2009), over the first ten seconds of
speech of each file. openSMILE is free for research; ``pip install 'avsearch[opensmile]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from avsearch.models import MODELS
from avsearch.models.inputs import SAMPLE_RATE
from indexer.errors import AvsearchError, BadRequest
from indexer.runtime import optional_libraries
from trainer.data.dataset import NO_MODALITY, DataSet
from trainer.data.features import FeatureTable, write_feature_file
from trainer.data.load import read_data

SECONDS = 10.0
VALUES = 384

Extract = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@click.command()
@click.option("--data", "places", multiple=True, required=True, help="As avsearch train has it.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A .safetensors file.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where prepared inputs are kept.")
def main(places: tuple[str, ...], out: Path, cache: Path | None) -> None:
    """Write the private attributes of the voices of some places."""
    try:
        extract = smile()
        sizes = MODELS["p2vanet"].Settings(voice_seconds=SECONDS)
        data = read_data(places, sizes, cache or out.with_suffix(".inputs"))
        table = attributes(data, extract)
    except AvsearchError as error:
        raise click.UsageError(str(error)) from error
    write_feature_file(out, {"voice": table})
    click.echo(f"{len(table.paths)} files, {VALUES} values each: {out}")


def smile() -> Extract:
    """IS09's values (384,) of a voice (samples,); BadRequest where openSMILE is not installed."""
    opensmile = optional_libraries.load("opensmile", "Computing these attributes", "opensmile")
    settings = Path(str(opensmile.__file__)).parent / "core/config/is09-13/IS09_emotion.conf"
    extractor: Any = opensmile.Smile(feature_set=str(settings), feature_level="func")

    def extract(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        values: NDArray[np.float32] = extractor.process_signal(wave, SAMPLE_RATE).to_numpy()
        return values.astype(np.float32).reshape(VALUES)

    return extract


def attributes(data: DataSet, extract: Extract) -> FeatureTable:
    """A row for every file with a voice, of its first voice, in the order of the data.

    Raises BadRequest where there are no voices.
    """
    if not len(data.voices):
        raise BadRequest(NO_MODALITY.format("voices"))
    rows = [(path, person, extract(wave)) for path, person, wave in tqdm(_firsts(data))]
    paths, people, values = zip(*rows, strict=True)
    return FeatureTable(np.stack(values), paths, people)


def _firsts(data: DataSet) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Of each file: its path, whose it is, and the start of its first voice."""
    voices, seen = data.voices, set[str]()
    for at, path in enumerate(voices.origins(np.arange(len(voices)))):
        if path not in seen:
            seen.add(path)
            person = data.names[int(voices.people[at])]
            yield path, person, voices.source.gather(voices.rows[at : at + 1], None)[0]
