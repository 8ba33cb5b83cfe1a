"""The demo's checkpoint: a small ADSM on people of a synthetic world, by person.

``python -m trainer.recipes.train_demo_model --out avsearch/weights/demo.safetensors`` trains it,
with the triplets first and the centres after (ADSM-TCD), on other people than the demo shows.
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
from trainer.data.pcm import pcm
from trainer.data.synthetic.world import World
from trainer.evaluation.calibration import calibrated
from trainer.recipes.in_memory import FACE_SIZE, PairedBatchMaker, Side, TrainingSet
from trainer.recipes.phases import Phase, Watch, embed_set, train, validation_scores
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


def fit(world: World, validation: TrainingSet, out: Path) -> None:
    """Train it, choosing the step on the validation people."""
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
    batches = PairedBatchMaker(training, people=PEOPLE, each=EACH, seed=SEED)
    train(
        model,
        PHASES,
        batches,
        lambda phase: validation_scores(
            *embed_set(model, validation, phase.face_size, phase.voice_seconds), paired=True
        ),
        Watch(model, out.with_suffix(".newest"), record),
        every=EVERY,
    )
    save_checkpoint(out, "adsm", model, record)
    write_branches(out)


def calibrate(validation: TrainingSet, out: Path) -> None:
    """Write into a checkpoint what its scores are worth on the validation people."""
    checkpoint = load_checkpoint(out, MODELS)
    last = PHASES[-1]
    sides = embed_set(
        cast(ADSM, checkpoint.network), validation, last.face_size, last.voice_seconds
    )
    found = calibrated(*sides)
    put_record(out, {**checkpoint.record, RECORD: found})
    for way, one in found.items():
        click.echo(f"{way}: {one}")


def render(world: World, numbers: range) -> TrainingSet:
    """Takes of these people, the person being the label that face and voice share."""
    faces, voices = [], []
    for number in tqdm(numbers, unit="person", disable=None, file=sys.stderr):
        person = world.person(number)
        for take in range(TAKES):
            picture = Image.fromarray(world.draw_face(person, take))
            small = picture.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR)
            faces.append(np.asarray(small))
            voices.append(pcm(world.speak(person, take)))
    people = np.repeat(np.arange(len(numbers)), TAKES)
    return TrainingSet(Side(faces, people, people), Side(voices, people, people))


if __name__ == "__main__":
    main()
