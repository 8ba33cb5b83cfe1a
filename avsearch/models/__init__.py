"""The models of the papers, one readable file each, and the way to a trained one."""

from __future__ import annotations

from pathlib import Path

from avsearch.models.acienet import ACIENet
from avsearch.models.adsm import ADSM
from avsearch.models.aicanet import AICANet
from avsearch.models.checkpoint import load_checkpoint
from avsearch.models.embedder import TorchEmbedder, pick_device
from indexer.errors import BadRequest

MODELS = {"acienet": ACIENet, "adsm": ADSM, "aicanet": AICANet}
WEIGHTS = Path(__file__).parent.parent / "weights"
DEFAULT = "adsm"


def load_model(name: str | Path | None = None, device: str = "auto") -> TorchEmbedder:
    """A trained model: the default, one that is shipped by its name, or a checkpoint file.

    ``device`` is ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``. Raises BadRequest where
    there is no such model or device, or the file is not a checkpoint.
    """
    return TorchEmbedder(load_checkpoint(find_weights(name), MODELS), pick_device(device))


def find_weights(name: str | Path | None) -> Path:
    """The checkpoint file of a shipped model's name, or the file itself."""
    name = DEFAULT if name is None else name
    shipped = {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if path.suffix or path.exists():
        return path
    known = f"shipped are {', '.join(shipped)}, or" if shipped else "none is shipped;"
    raise BadRequest(f"There is no model {str(name)!r}; {known} name a checkpoint file.")


def model_address(name: str | Path | None) -> str:
    """How to find a model again from any working folder; empty for the default."""
    if name is None:
        return ""
    path = find_weights(name)
    return path.stem if path.parent == WEIGHTS else str(path.absolute())
