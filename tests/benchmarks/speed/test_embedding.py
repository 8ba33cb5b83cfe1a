"""A model by torch and by onnxruntime, on items of people it was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image

from avsearch.models.checkpoint import save_checkpoint
from benchmarks.speed.embedding import main
from tests.helpers.tiny import face_noise, lived_adsm, voice_noise
from trainer.recipes.write_onnx import write_branches

SIDES = {
    "train": ["faces/ann", "voices/ann"],
    "validation": ["faces/bob", "faces/cid", "voices/bob", "voices/cid"],
    "test": ["faces/dan", "faces/eve", "faces/fay", "voices/dan", "voices/eve", "voices/fay"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its ONNX files and a gallery of each modality."""
    place = tmp_path_factory.mktemp("embedding")
    rng = np.random.default_rng(0)
    for name in (name for names in SIDES.values() for name in names):
        folder = place / name
        folder.mkdir(parents=True)
        for at in range(3):
            if name.startswith("faces"):
                Image.fromarray(face_noise(rng)).save(folder / f"{at}.png")
            else:
                soundfile.write(folder / f"{at}.wav", voice_noise(rng, 9000), 16_000)
    save_checkpoint(place / "a.safetensors", "adsm", lived_adsm(), {"people": SIDES})
    write_branches(place / "a.safetensors")
    return place


def test_both_runtimes_are_measured_on_test_people_alone(place: Path) -> None:
    arguments = ["--model", str(place / "a.safetensors"), "--rounds", "1"]
    for modality in ("faces", "voices"):
        arguments += [f"--{modality}", str(place / modality)]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    for modality in ("faces", "voices"):
        assert f"9 {modality} of test people." in done.output
    rows = [line.split("|") for line in done.output.splitlines() if "least" in line]
    assert [row[1].strip() for row in rows] == ["torch", "onnxruntime"] * 2
    assert min(float(row[3].split()[-1]) for row in rows) > 0.9999


def test_a_gallery_without_test_people_is_an_error(place: Path) -> None:
    arguments = ["--model", str(place / "a.safetensors"), "--faces", str(place / "voices")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "nobody of the checkpoint's test people" in done.output
