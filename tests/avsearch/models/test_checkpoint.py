from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from avsearch.models import MODELS, load_model
from avsearch.models.checkpoint import (
    load_checkpoint,
    put_record,
    save_checkpoint,
    weights_hash,
)
from avsearch.models.torch_embedder import TorchEmbedder, pick_device
from avsearch.runtime import weights
from avsearch.runtime.weights import find_weights, model_space
from indexer.errors import BadRequest
from tests.helpers.tiny import SETTINGS, face, lived_adsm, tiny_batch, voice

RECORD = {"recipe": "none", "people": {"train": ["anna", "bert"], "test": []}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of the tiny network."""
    save_checkpoint(tmp_path / "tiny.safetensors", "adsm", lived_adsm(), RECORD)
    return tmp_path / "tiny.safetensors"


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def rewrite(path: Path, **changes: str | None) -> None:
    """Change, or with None take out, what a checkpoint says of itself."""
    kept = metadata(path) | changes
    save_file(load_file(path), path, {key: text for key, text in kept.items() if text is not None})


def refusal(path: Path) -> str:
    """Return the message to the user: one sentence that names the file."""
    with pytest.raises(BadRequest) as caught:
        load_model(path, "cpu")
    told = str(caught.value)
    assert str(path) in told
    assert told.endswith(".")
    assert "\n" not in told
    return told


def vectors(network) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(network.encode(tiny_batch(seed=5)))


# Save and load.


def test_what_is_loaded_is_what_was_saved(tmp_path):
    path, network = tmp_path / "whole.safetensors", lived_adsm()
    save_checkpoint(path, "adsm", network, RECORD, half=False)
    loaded = load_checkpoint(path, MODELS)
    assert loaded.record == RECORD
    assert loaded.network.settings == SETTINGS
    assert not loaded.network.training
    for key, value in network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[key], value, rtol=0, atol=0)
    for one, other in zip(vectors(network), vectors(loaded.network), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0)


def test_half_the_size_gives_nearly_the_same_vectors(tmp_path):
    network = lived_adsm()
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(whole, "adsm", network, RECORD, half=False)
    save_checkpoint(half, "adsm", network, RECORD)
    assert half.stat().st_size < 0.9 * whole.stat().st_size
    loaded = load_checkpoint(half, MODELS).network
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    for one, other in zip(vectors(network), vectors(loaded), strict=True):
        assert (one * other).sum(1).min() > 0.9999


def test_statistics_are_kept_whole_under_half(path):
    dtypes = {key: value.dtype for key, value in load_file(path).items()}
    parameters = dict(lived_adsm().named_parameters())
    for key, dtype in dtypes.items():
        assert (dtype == torch.float16) == (key in parameters), key


def test_a_network_in_training_is_saved_without_being_touched(tmp_path):
    network = lived_adsm(attribute_weight=1.0).train()
    save_checkpoint(tmp_path / "a.safetensors", "adsm", network, RECORD)
    assert network.training
    assert all(p.dtype == torch.float32 and p.requires_grad for p in network.parameters())


def test_saving_replaces_and_leaves_nothing_beside(path):
    save_checkpoint(path, "adsm", lived_adsm(seed=7), {"second": True})
    assert load_checkpoint(path, MODELS).record == {"second": True}
    assert list(path.parent.iterdir()) == [path]


def test_others_may_read_it_as_any_file_of_the_folder(path):
    other = path.with_name("other")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def test_the_space_is_that_of_the_file(path):
    space = load_checkpoint(path, MODELS).space
    assert (space.model, space.dim, space.metric) == ("adsm", 16, "cosine")
    with safe_open(path, framework="pt") as file:
        settings = file.metadata()["settings"]
    assert space.weights_sha256 == weights_hash(load_file(path), settings)
    assert load_model(path, "cpu").space == space


# The hash.


def test_the_hash_is_that_of_settings_names_types_shapes_and_bytes():
    tensors = {"b": torch.tensor([1, 2]), "a": torch.tensor([[0.5]])}
    wanted = hashlib.sha256(
        b'{"size": 1, "wide": 2}'
        + b"a torch.float32 (1, 1)\n"
        + np.float32(0.5).tobytes()
        + b"b torch.int64 (2,)\n"
        + np.array([1, 2]).tobytes()
    )
    assert weights_hash(tensors, '{"wide": 2, "size": 1}') == wanted.hexdigest()


def test_the_hash_does_not_depend_on_order_or_layout():
    table = torch.arange(6.0).reshape(2, 3)
    one = {"a": table, "b": torch.ones(1)}
    other = {"b": torch.ones(1), "a": table.T.contiguous().T}
    assert weights_hash(one, "{}") == weights_hash(other, "{}")


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.0000002])},
        {"c": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0]).double()},
        {"a": torch.tensor([2.0, 1.0])},
        {},
    ],
)
def test_the_hash_changes_with_the_weights(other):
    assert weights_hash(other, "{}") != weights_hash({"a": torch.tensor([1.0, 2.0])}, "{}")


def test_the_hash_changes_with_the_settings():
    tensors = {"a": torch.ones(1)}
    assert weights_hash(tensors, '{"face_size": 64}') != weights_hash(tensors, '{"face_size": 128}')


def test_a_corrected_record_is_the_same_space_and_one_more_step_is_not(path):
    before = load_checkpoint(path, MODELS).space
    rewrite(path, record=json.dumps({"corrected": True}))
    after = load_checkpoint(path, MODELS)
    assert after.record == {"corrected": True}
    assert after.space == before
    network = lived_adsm()
    with torch.no_grad():
        network.face_net[0][0].weight[0, 0, 0, 0] += 0.01
    save_checkpoint(path, "adsm", network, RECORD)
    assert load_checkpoint(path, MODELS).space != before


# What is refused.


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "cut short" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"These are no weights.\n" * 100, b"\x80\x04" + b"pickle." * 9]
)
def test_a_file_of_another_kind_is_refused(path, content):
    path.write_bytes(content)
    assert "not a safetensors file" in refusal(path)


@pytest.mark.parametrize("said", [None, {"format": "pt"}, {"format": "avsearch-1"}])
def test_somebody_elses_safetensors_are_refused(path, said):
    save_file({"weight": torch.ones(3)}, path, said)
    assert "not an avsearch checkpoint" in refusal(path)


@pytest.mark.parametrize("key", ["model", "settings", "record"])
def test_a_checkpoint_that_does_not_say_what_it_is_is_refused(path, key):
    rewrite(path, **{key: None})
    assert "not an avsearch checkpoint" in refusal(path)


def test_an_unknown_model_is_refused(path):
    rewrite(path, model="bdsm2")
    assert "'bdsm2'" in refusal(path)


def changed_settings(path: Path, **changes: object) -> str:
    return json.dumps(json.loads(metadata(path)["settings"]) | changes)


def test_tensors_of_another_size_are_refused(path):
    rewrite(path, settings=changed_settings(path, dim=24))
    assert "does not fit" in refusal(path)


def test_tensors_too_many_or_too_few_are_refused(path):
    tensors, said = load_file(path), metadata(path)
    save_file(tensors | {"another": torch.ones(1)}, path, said)
    assert "does not fit" in refusal(path)
    del tensors["face_net.0.0.weight"]
    save_file(tensors, path, said)
    assert "does not fit" in refusal(path)


@pytest.mark.parametrize(
    "changes",
    [{"of_a_later_version": 1}, {"widths": 8}, {"face_cardinality": 3}],  # 3 divides nothing
)
def test_settings_of_another_version_are_refused(path, changes):
    rewrite(path, settings=changed_settings(path, **changes))
    assert "does not fit" in refusal(path)


@pytest.mark.parametrize("key", ["settings", "record"])
@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_settings_and_records_that_are_none_are_refused(path, key, text):
    rewrite(path, **{key: text})
    assert "does not fit" in refusal(path)


@pytest.mark.parametrize("name", ["absent.safetensors", "folder"])
def test_a_file_that_is_not_there_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    assert "no checkpoint" in refusal(tmp_path / name)


def test_weights_that_are_not_those_it_was_saved_with_are_refused(path):
    tensors = load_file(path)
    key = next(key for key in sorted(tensors) if tensors[key].is_floating_point())
    tensors[key][0] += 1
    save_file(tensors, path, metadata(path))
    assert "other weights than it says" in refusal(path)


# Spaces, told without torch.


@pytest.mark.parametrize("half", [True, False])
def test_the_space_of_a_file_is_that_of_the_model_in_it(tmp_path, half):
    save_checkpoint(tmp_path / "a.safetensors", "adsm", lived_adsm(3), RECORD, half=half)
    told = model_space(tmp_path / "a.safetensors")
    assert told == load_checkpoint(tmp_path / "a.safetensors", MODELS).space


def test_the_space_of_a_file_that_does_not_say_its_hash_is_told_from_its_weights(path):
    space = model_space(path)
    assert metadata(path)["weights_sha256"] == space.weights_sha256
    rewrite(path, weights_sha256=None)
    assert model_space(path) == space
    assert load_checkpoint(path, MODELS).space == space
    put_record(path, RECORD)
    assert metadata(path)["weights_sha256"] == space.weights_sha256


def test_of_what_is_no_checkpoint_no_space_is_told(path, tmp_path):
    content = path.read_bytes()
    (tmp_path / "short").write_bytes(content[: len(content) // 2])
    (tmp_path / "text").write_text("no weights")
    save_file({"a": torch.ones(2)}, tmp_path / "other")
    for name in ("short", "text", "other", "absent", "."):
        assert model_space(tmp_path / name) is None
    for key, text in (("settings", "[]"), ("settings", "{}"), ("settings", "no JSON")):
        rewrite(path, **{key: text})
        assert model_space(path) is None


# Names.


@pytest.fixture
def shipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny network as the only one that is shipped."""
    folder = path.parent / "weights"
    folder.mkdir()
    monkeypatch.setattr(weights, "WEIGHTS", folder)
    return path.rename(folder / "adsm.safetensors")


@pytest.mark.parametrize("name", [None, "adsm"])
def test_a_shipped_model_is_found_by_name_and_is_the_default(shipped, name):
    assert find_weights(name) == shipped
    assert load_model(name, "cpu").record == RECORD


def test_a_file_is_found_by_its_path(shipped, tmp_path):
    other = shipped.rename(tmp_path / "mine")
    assert find_weights(other) == find_weights(str(other)) == other
    assert load_model(str(other), "cpu").record == RECORD


def test_an_unknown_name_is_refused_with_those_that_are_known(shipped, monkeypatch):
    monkeypatch.chdir(shipped.parent)
    with pytest.raises(BadRequest, match=r"no model 'nosuch'; shipped are adsm,"):
        load_model("nosuch", "cpu")


# Devices.


def test_a_gpu_that_is_not_there_is_refused(path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadRequest, match="No CUDA device"):
        load_model(path, "cuda")
    assert load_model(path, "auto").device == torch.device("cpu")


def test_auto_takes_the_gpu_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cuda").type == "cuda"
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "meta"])
def test_an_unknown_device_is_refused(path, name):
    with pytest.raises(BadRequest, match=r"ask for auto, cpu or cuda\.$"):
        load_model(path, name)


def test_a_loaded_model_embeds_as_the_network_does(tmp_path):
    path, network, rng = tmp_path / "a.safetensors", lived_adsm(), np.random.default_rng(0)
    save_checkpoint(path, "adsm", network, RECORD, half=False)
    media = [face(rng), voice(rng)]
    found = load_model(path, "cpu").embed(media).vectors
    with torch.inference_mode():
        wanted = torch.cat(
            [
                network.embed_face(torch.from_numpy(media[0].data.transpose(2, 0, 1).copy())[None]),
                network.embed_voice(torch.from_numpy(media[1].data)[None]),
            ]
        )
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
    assert isinstance(load_model(path, "cpu"), TorchEmbedder)
