"""The demo's checkpoint: a small ADSM trained on people of the synthetic world.

``python -m trainer.recipes.train_demo_model --out avsearch/weights/demo.safetensors`` trains it
first with triplets and then with centres (ADSM-TCD), on other people than the demo shows.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import click
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from avsearch.calibration import RECORD
from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint, put_record, save_checkpoint
from avsearch.models.papers.adsm import ADSM, ADSMSettings
from trainer.data.dataset import BatchMaker, DataSet, Side
from trainer.data.pcm import pcm
from trainer.data.sources import FaceSource, VoiceSource, with_input_sizes
from trainer.data.synthetic.world import World
from trainer.evaluation.calibration import calibrated
from trainer.recipes.galleries import FACE_SIZE
from trainer.recipes.phases import Phase, ValidationLog, embed_set, train, validation_scores
from trainer.recipes.synthetic_demo import PEOPLE as SHOWN
from trainer.recipes.write_onnx import write_branches

VALIDATION = range(max(SHOWN) + 1, max(SHOWN) + 61)
TRAINING = range(1000, 1500)
TAKES = 4
SETTINGS = ADSMSettings(
    widths=(16, 32, 64, 128),
    face_size=48,
    face_cardinality=4,
    voice_seconds=3.0,
    classes=len(TRAINING),
    attribute_weight=1.0,
    attribute_scale=16.0,
)
PHASES = (
    Phase(900, 48, 2.0, peak_rate=3e-3, warmup=30),
    Phase(150, 48, 3.0, peak_rate=3e-4, centred=True),
)
PEOPLE, EACH, SEED, EVERY = 32, 2, 0, 100


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--calibrate", "only_calibrate", is_flag=True, help="Do not train; calibrate.")
def main(out: Path, *, only_calibrate: bool) -> None:
    """Train the demo's checkpoint, or calibrate it."""
    torch.manual_seed(SEED)
    world = World()
    validation = render(world, VALIDATION)
    if not only_calibrate:
        fit(world, validation, out)
    calibrate(validation, out)


def fit(world: World, validation: DataSet, out: Path) -> None:
    """Train the checkpoint; the validation people choose the step."""
    training = render(world, TRAINING)
    model = ADSM(SETTINGS)
    record = {
        "recipe": "trainer.recipes.train_demo_model",
        "seed": SEED,
        "people": {
            "train": [world.person(number).key for number in TRAINING],
            "validation": [world.person(number).key for number in VALIDATION],
        },
    }
    rng = np.random.default_rng(SEED)

    def batches_of(phase: Phase) -> BatchMaker:
        data = with_input_sizes(training, phase.face_size, phase.voice_seconds)
        return BatchMaker(data, PEOPLE, EACH, rng)

    train(
        model,
        PHASES,
        batches_of,
        lambda phase: validation_scores(
            *embed_set(model, validation, phase.face_size, phase.voice_seconds), paired=True
        ),
        ValidationLog(model, out.with_suffix(".newest"), record),
        every=EVERY,
    )
    save_checkpoint(out, "adsm", model, record)
    write_branches(out)


def calibrate(validation: DataSet, out: Path) -> None:
    """Write calibrations into a checkpoint, fitted on the validation people."""
    checkpoint = load_checkpoint(out, MODELS)
    last = PHASES[-1]
    sides = embed_set(
        cast(ADSM, checkpoint.network), validation, last.face_size, last.voice_seconds
    )
    found = calibrated(*sides)
    put_record(out, {**checkpoint.record, RECORD: found})
    for direction, one in found.items():
        click.echo(f"{direction}: {one}")


def render(world: World, numbers: range) -> DataSet:
    """Return takes of these people, with the person as the label."""
    faces, voices = [], []
    for number in tqdm(numbers, unit="person", disable=None, file=sys.stderr):
        person = world.person(number)
        for take in range(TAKES):
            image = Image.fromarray(world.draw_face(person, take))
            small = image.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR)
            faces.append(np.asarray(small))
            voices.append(pcm(world.speak(person, take)))
    people = np.repeat(np.arange(len(numbers)), TAKES)
    names = tuple(world.person(number).key for number in numbers)
    paths = [names[who] for who in people]
    return DataSet(
        Side.of_source(FaceSource(faces, paths, SETTINGS.face_size), people, people),
        Side.of_source(VoiceSource(voices, paths, SETTINGS.voice_seconds), people, people),
        names,
    )


if __name__ == "__main__":
    main()
