"""Private attributes, those of one modality, in a training of P2VANet: whether they fit, and how
many of the items have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from indexer.errors import BadRequest
from indexer.types import MODALITIES
from trainer.data.dataset import DataSet, Side


def require_fitting(model: str, settings: Any, data: DataSet) -> None:
    """Raise BadRequest for attributes that a model does not take, or as many as it does not."""
    for modality in MODALITIES:
        values = data.side(modality).private
        if values is None:
            continue
        wanted = getattr(settings, f"{modality}_attributes", None)
        if wanted is None or not settings.private:
            raise BadRequest(
                f"--{modality}-private: {model}, as it is set, takes no private attributes; "
                "leave them out, or train p2vanet."
            )
        if values.shape[1] != wanted:
            raise BadRequest(
                f"--{modality}-private gives {values.shape[1]} values an item and the model takes "
                f"{wanted}; give so many, or --set {modality}_attributes={values.shape[1]} with "
                f"{modality}_tokens, which divides it."
            )


def known_shares(settings: Any, data: DataSet) -> dict[str, float]:
    """Of each modality the share of items, 0 to 1, some private attribute of which is known.

    Empty for a model that takes none.
    """
    if not getattr(settings, "private", False):
        return {}
    return {one: _known_share(data.side(one)) for one in MODALITIES}


def _known_share(side: Side) -> float:
    if side.private is None or not len(side):
        return 0.0
    return float(np.isfinite(side.private).any(1).mean())


def sentences(shares: dict[str, float]) -> Iterator[str]:
    """What the user should know of a training without the attributes of a modality."""
    for modality, share in shares.items():
        if not share:
            yield (
                f"No private attributes of {modality}s are known; what stands for unknown ones is "
                f"learned instead. A table of them goes to --{modality}-private."
            )
