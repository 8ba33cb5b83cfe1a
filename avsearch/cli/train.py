"""``avsearch train``: train a model of one of the papers on people's faces and voices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avsearch.cli.options import FILE, device_option, faces_option, json_option
from avsearch.cli.output import print_json, say, warn
from indexer.errors import printable

if TYPE_CHECKING:
    from avsearch.media import Faces
    from trainer.data.dataset import DataSet
    from trainer.data.splits import Split
    from trainer.training.run import TrainResult

_POSITIVE = click.IntRange(min=1)
_POSITIVE_NUMBER = click.FloatRange(min=0, min_open=True)


def _pairs(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Return the options ``KEY=VALUE`` as a mapping."""
    pairs = [one.partition("=") for one in given]
    wrong = [one for one, (key, _, value) in zip(given, pairs, strict=True) if not key or not value]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE.", ctx, option)
    return {key: value for key, _, value in pairs}


@click.command("train")
@click.option("--model", required=True, help="A paper's model: adsm, dsanet, p2vanet, ...")
@click.option(
    "--data",
    "sources",
    multiple=True,
    required=True,
    metavar="SOURCE",
    help="A gallery, a folder of galleries, VoxCeleb's folder, a table or a file of features, or "
    "synthetic; may be given again.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The checkpoint, NAME.safetensors; logs and state go to NAME.training beside it.",
)
@click.option("--epochs", type=_POSITIVE_NUMBER, help="[default: the paper's]")
@click.option("--steps", type=_POSITIVE, help="Instead of --epochs.")
@click.option("--small", is_flag=True, help="A small trunk and small inputs, for a laptop's CPU.")
@click.option(
    "--set",
    "words",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_pairs,
    help="A setting of the model.",
)
@click.option(
    "--face-trunk",
    type=FILE,
    help="Start a ResNet-18 for faces from these weights: torchvision's .pth, or safetensors.",
)
@click.option("--batch", type=_POSITIVE, help="Items of each modality.  [default: the paper's]")
@click.option(
    "--each", type=_POSITIVE, default=2, show_default=True, help="Items of a person in a batch."
)
@click.option("--accumulate", type=_POSITIVE, default=1, help="Batches in one step.")
@click.option("--clip", type=_POSITIVE_NUMBER, help="Largest gradient norm.")
@click.option(
    "--rate",
    type=_POSITIVE_NUMBER,
    default=1.0,
    help="Multiplies all learning rates.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="The precision of the networks; losses are always float32.",
)
@device_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--every", type=_POSITIVE, help="Steps between validations.  [default: an epoch]")
@click.option(
    "--split",
    "split_rule",
    default="hash",
    show_default=True,
    help="The validation and test people: hash, hash:V,T, letters, last:V,T, or a file of "
    "`name side`.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for prepared inputs.  [default: NAME.training/inputs]",
)
@faces_option
@click.option(
    "--face-private",
    type=FILE,
    help="A feature file with the private attributes of faces (P2VANet).",
)
@click.option(
    "--voice-private",
    type=FILE,
    help="A feature file with the private attributes of voices (P2VANet).",
)
@click.option(
    "--face-encoder",
    type=FILE,
    help="An ONNX network: train on its features of faces, not on pictures.",
)
@click.option(
    "--voice-encoder",
    type=FILE,
    help="An ONNX network: train on its features of voices, not on sounds.",
)
@click.option("--resume", is_flag=True, help="Continue a stopped training exactly where it was.")
@json_option
def command(
    model: str,
    sources: tuple[str, ...],
    out: Path,
    words: dict[str, str],
    split_rule: str,
    cache: Path | None,
    faces: Faces,
    face_private: Path | None,
    voice_private: Path | None,
    face_encoder: Path | None,
    voice_encoder: Path | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model on the faces and voices of people, and keep its best checkpoint.

    The checkpoint is the one with the best score on the validation people; it names the people of
    the training. Under torchrun (torchrun --nproc-per-node N -m avsearch train ...) several
    processes train one model.
    """
    from trainer.data.dataset import require_both
    from trainer.data.load import DataOptions, read_data
    from trainer.data.splits import split
    from trainer.training.config import TrainRequest
    from trainer.training.run import train

    record = {
        "command": ["avsearch", *sys.argv[1:]],
        "data": list(sources),
        "split": split_rule,
    }
    request = TrainRequest(model=model, out=out, words=words, record=record, **options)
    data_options = DataOptions(faces, face_private, voice_private, face_encoder, voice_encoder)
    inputs = cache or request.folder / "inputs"

    def read(settings: Any) -> dict[Split, DataSet]:
        data = read_data(sources, settings, inputs, data_options, say=warn)
        require_both(data)
        return split(data, split_rule)

    trained = train(request, read, warn)
    if trained is None:
        return
    if as_json:
        print_json(trained)
    else:
        _print(trained)


def _print(trained: TrainResult) -> None:
    scores = {name: "none" if v is None else f"{v:.3f}" for name, v in trained.scores.items()}
    say(
        f"{trained.model}, {trained.steps} steps on {trained.people['train']} people; kept step "
        f"{trained.best_step}, on {trained.people['validation']} validation people: "
        + ", ".join(f"{name} {value}" for name, value in scores.items())
    )
    say(f"Checkpoint: {printable(trained.checkpoint)}")
    say(f"Log: {printable(trained.log)}")
    if trained.curves is not None:
        say(f"Curves: {printable(trained.curves)}")
