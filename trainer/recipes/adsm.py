"""The default checkpoint: ADSM on faces and voices of mostly different people.

``python -m trainer.recipes.adsm --data DATA --out FIRST`` trains it on small inputs, from the
galleries ``lfw``, ``librispeech``, ``ravdess``, ``urdu``, ``nemo`` and ``fsdd`` of a folder;
``--start FIRST --out FILE`` then trains it on inputs of the size that an index gives it. With
``--measure`` it only prints the figures of the card for a checkpoint that is there, and with
``--calibrate`` it only calibrates it on the validation people that its record names.

Next to nobody in this data has both a face and a voice, so faces and voices share the class
gender, and people are kept apart within each modality. The centres of Eq. 2-6 would draw all
people of one class together and are not used: in the paper's words this is ADSM-TD.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.evidence import RECORD
from avsearch.media import MediaExtractor
from avsearch.models import MODELS, load_model
from avsearch.models.adsm import ADSM, ADSMSettings
from avsearch.models.checkpoint import load_checkpoint, put_record, save_checkpoint
from indexer.types import MODALITIES, Media, Modality, Vectors
from trainer.calibration import calibrated
from trainer.data.splits import Split, split_people
from trainer.evaluate import Embeddings, label_map, label_precision, same_person_auc
from trainer.recipes.common import Phase, Watch, embed_set, thin, train, validation_scores
from trainer.recipes.galleries import Example, read_gallery, training_set
from trainer.recipes.resident import BatchMaker, TrainingSet
from trainer.validation import first_items

GALLERIES = ("lfw", "librispeech", "ravdess", "urdu", "nemo", "fsdd")
LEFT_OUT = tuple(f"ravdess/Actor_{number:02d}" for number in range(9, 17))  # both modalities
# Faces of 64 pixels a side, not the paper's 128: on a CPU a step on those costs four times more,
# and in the same time the model has learnt less.
SETTINGS = ADSMSettings(face_size=64, identity_weight=0.5, attribute_weight=1.0)
FIRST = (
    Phase(1200, 32, 1.5, peak_rate=2e-3, warmup=50, terms=("attribute", "identity")),
    Phase(300, 48, 2.0, peak_rate=1e-3),
    Phase(150, 80, 3.0, peak_rate=5e-4),
)
LAST = (Phase(280, 64, 3.0, peak_rate=7e-4, warmup=20),)
FACE_PEOPLE, VOICE_PEOPLE, EACH = 24, 8, 2  # of a batch
SEED = 0
EVERY_FIRST, EVERY_LAST = 100, 70  # steps between two validations


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--start", type=click.Path(exists=True, path_type=Path), help="Go on from here.")
@click.option("--measure", "only_measure", is_flag=True, help="Do not train.")
@click.option("--calibrate", "only_calibrate", is_flag=True, help="Do not train; calibrate.")
def main(
    data: Path, out: Path, start: Path | None, *, only_measure: bool, only_calibrate: bool
) -> None:
    """Train the default checkpoint, calibrate it, or print its figures."""
    if only_calibrate:
        people = frozenset(load_checkpoint(out, MODELS).record["people"]["validation"])
        calibrate(read_data(data, people), out)
        return
    examples = read_data(data)
    sides = split_people({example.person for example in examples}, LEFT_OUT)
    if not only_measure:
        fit(examples, sides, start, out)
        validating = set(sides["validation"])
        calibrate([example for example in examples if example.person in validating], out)
    for name, figure in measure(examples, sides["test"], out).items():
        click.echo(f"{name}: {figure}")


def read_data(data: Path, wanted: Container[str] | None = None) -> list[Example]:
    """The faces and voices of the galleries, of all people or of those ``wanted``.

    The pictures of ``lfw`` are crops already.
    """
    return [
        example
        for name in GALLERIES
        for example in read_gallery(
            data / name, MediaExtractor("whole" if name == "lfw" else "detect"), wanted
        )
    ]


def fit(
    examples: list[Example], sides: dict[Split, list[str]], start: Path | None, out: Path
) -> None:
    """Train on one side, choose the step on another, and write the checkpoint."""
    torch.manual_seed(SEED)
    training, validation = (_part(examples, sides[side]) for side in ("train", "validation"))
    chosen = TrainingSet(thin(validation.faces, 2, 120), thin(validation.voices, 4, 40))
    record = {"recipe": "trainer.recipes.adsm", "seed": SEED, "people": sides}
    model = ADSM(SETTINGS)
    if start is not None:
        model.load_state_dict(load_checkpoint(start, MODELS).network.state_dict())
    batches = BatchMaker(
        training, face_people=FACE_PEOPLE, voice_people=VOICE_PEOPLE, each=EACH, seed=SEED
    )
    train(
        model,
        LAST if start is not None else FIRST,
        batches,
        lambda phase: validation_scores(
            *embed_set(model, chosen, phase.face_size, 2 * phase.voice_seconds), paired=False
        ),
        Watch(model, out.with_suffix(".best"), record),
        every=EVERY_FIRST if start is None else EVERY_LAST,
    )
    save_checkpoint(out, "adsm", model, record)


def calibrate(examples: list[Example], checkpoint: Path) -> None:
    """Write into a checkpoint what its scores are worth, by some items of each of these people."""
    chosen = [*_thinned(examples, "face", 4), *_thinned(examples, "voice", 10)]
    data = training_set(chosen)
    faces, voices = (_vectors(chosen, modality, checkpoint) for modality in MODALITIES)
    found = calibrated(
        Embeddings(faces, data.faces.people, data.faces.labels),
        Embeddings(voices, data.voices.people, data.voices.labels),
    )
    put_record(checkpoint, {**load_checkpoint(checkpoint, MODELS).record, RECORD: found})
    for way, one in found.items():
        click.echo(f"{way}: {one}")


def _thinned(examples: list[Example], modality: Modality, each: int) -> list[Example]:
    """At most so many items of a modality of every person."""
    own = [example for example in examples if example.modality == modality]
    places = first_items(np.unique([one.person for one in own], return_inverse=True)[1], each)
    return [own[at] for at in places.tolist()]


def measure(examples: list[Example], people: list[str], checkpoint: Path) -> dict[str, object]:
    """The figures of the card, on people who took no part in the training."""
    tested = [example for example in examples if example.person in set(people)]
    faces, voices = (_embedded(tested, modality, checkpoint) for modality in MODALITIES)
    actors = _embedded([e for e in tested if e.person in LEFT_OUT], "voice", checkpoint)
    return {
        "actors' voices, first face of the own gender": label_precision(actors, faces),
        "all voices, first face of the own gender": label_precision(voices, faces),
        "voice to face, mAP by gender": label_map(voices, faces),
        "face to voice, mAP by gender": label_map(faces, voices),
        "face to face, AUC of one person": f"{same_person_auc(faces):.3f}",
        "voice to voice, AUC of one person": f"{same_person_auc(voices):.3f}",
    }


def _embedded(examples: list[Example], modality: Modality, checkpoint: Path) -> Embeddings:
    """Examples of one modality embedded as an index would embed them."""
    own = [example for example in examples if example.modality == modality]
    part = training_set(own)
    side = part.faces if modality == "face" else part.voices
    return Embeddings(_vectors(own, modality, checkpoint), side.people, side.labels)


def _vectors(examples: list[Example], modality: Modality, checkpoint: Path) -> Vectors:
    """The vectors of those of a modality, in their order."""
    own = [example for example in examples if example.modality == modality]
    media = [Media(one.path, modality, data=_samples(one.data)) for one in own]
    return load_model(checkpoint).embed(media).vectors


def _samples(data: NDArray[Any]) -> NDArray[Any]:
    return data.astype(np.float32) / np.float32(32768) if data.dtype == np.int16 else data


def _part(examples: list[Example], people: list[str]) -> TrainingSet:
    chosen = set(people)
    return training_set([example for example in examples if example.person in chosen])


if __name__ == "__main__":
    main()
