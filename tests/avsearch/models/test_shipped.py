"""The checkpoints that are shipped: their size, their cards, and what they can do."""

import numpy as np
import pytest

from avsearch.media import MediaExtractor
from avsearch.models import load_model
from avsearch.models.onnx_embedder import OnnxEmbedder, branch_path
from avsearch.runtime import onnx_session
from avsearch.runtime.weights import WEIGHTS, model_space
from indexer.types import Media

SHIPPED = sorted(WEIGHTS.glob("*.safetensors"))


def test_the_default_and_the_demo_are_shipped():
    assert [path.stem for path in SHIPPED] == ["adsm", "demo"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_checkpoint_is_small_has_a_card_and_says_whom_it_saw(path):
    assert path.stat().st_size <= 30e6
    card = path.with_suffix(".md").read_text()
    model = load_model(path.stem)
    assert model.space.dim == 128
    assert model_space(path) == model.space
    assert model.space.weights_sha256 in card
    assert model.record["recipe"] in card
    people = model.record["people"]
    assert people["train"]
    assert not set(people["train"]) & set(people["validation"])
    assert not set(people["train"]) & set(people.get("test", []))


def test_onnx_files_are_of_the_weights_beside_them():
    beside = [path for path in SHIPPED if branch_path(path, "face").exists()]
    assert "demo" in [path.stem for path in beside]
    for path in beside:
        found = load_model(path.stem, "cpu")
        assert isinstance(found, OnnxEmbedder), f"python -m trainer.recipes.write_onnx {path.stem}"
        assert found.space == model_space(path)


@pytest.mark.parametrize("name", ["mtcnn", "silero"])
def test_networks_of_others_are_shipped_with_their_licence(name):
    card = (WEIGHTS / f"{name}.md").read_text()
    assert "The weights are those of" in card
    assert "MIT License" in card
    files = list(WEIGHTS.glob(f"{name}*.onnx"))
    assert files
    assert sum(file.stat().st_size for file in files) < 3e6
    for file in files:
        assert "MIT License" in onnx_session.metadata(file)["source"]


@pytest.fixture(scope="module")
def actors(test_data):
    """Folder and gender of the actors that the default model never saw."""
    model = load_model()
    unseen = [name for name in model.record["people"]["test"] if name.startswith("ravdess/")]
    rows = (test_data / "ravdess" / "people.csv").read_text().splitlines()[1:]
    genders = {row.split(",")[0]: row.split(",")[2] for row in rows}
    return [(test_data / name, genders[name.split("/")[1]]) for name in unseen]


def test_unseen_voices_rank_unseen_faces_of_their_own_gender_first(actors):
    model = load_model()
    extractor = MediaExtractor()
    faces = [next(extractor.extract(next(folder.glob("*.png")))) for folder, _ in actors]
    voices = [next(extractor.extract(p)) for f, _ in actors for p in sorted(f.glob("*.ogg"))[:6]]
    genders = np.array([gender for _, gender in actors])
    asked = np.repeat(genders, 6)
    scores = model.embed(voices).vectors @ model.embed(faces).vectors.T
    right = genders[scores.argmax(1)] == asked
    per_actor = right.reshape(len(actors), 6).mean(1)
    assert len(actors) >= 8
    # Chance is a half; eight actors of 0.5 +- 0.5 each would reach this once in some hundred times.
    assert per_actor.mean() >= 0.8


def test_a_vector_of_real_media_does_not_depend_on_its_neighbours(actors):
    model = load_model()
    folder = actors[0][0]
    media = [Media(path, "voice") for path in sorted(folder.glob("*.ogg"))[:3]]
    media.append(next(MediaExtractor().extract(next(folder.glob("*.png")))))
    alone = np.concatenate([model.embed([item]).vectors for item in media])
    np.testing.assert_allclose(model.embed(media[::-1]).vectors[::-1], alone, atol=1e-5)
