"""Checks of P2VANet's private attributes, which only one modality has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from indexer.errors import BadRequest
from indexer.types import MODALITIES
from trainer.data.dataset import DataSet


def require_fitting(model: str, settings: Any, data: DataSet) -> None:
    """Raise BadRequest for attributes that the model does not take, or a wrong number of them."""
    for modality in MODALITIES:
        values = data.side(modality).private
        if values is None:
            continue
        taken = getattr(settings, f"{modality}_attributes", None)
        if taken is None or not settings.private:
            raise BadRequest(
                f"--{modality}-private: {model}, as it is set, takes no private attributes; "
                "leave them out, or train p2vanet."
            )
        if values.shape[1] != taken:
            raise BadRequest(
                f"--{modality}-private gives {values.shape[1]} values an item and the model takes "
                f"{taken}; give that number, or --set {modality}_attributes={values.shape[1]} with "
                f"{modality}_tokens, which divides it."
            )


def known_shares(settings: Any, data: DataSet) -> dict[str, float]:
    """Return for each modality the share of items, 0 to 1, with some known private attribute.

    Empty for a model that takes none.
    """
    if not getattr(settings, "private", False):
        return {}
    shares: dict[str, float] = {}
    for modality in MODALITIES:
        private = data.side(modality).private
        shares[modality] = 0.0
        if private is not None and len(private):
            shares[modality] = float(np.isfinite(private).any(1).mean())
    return shares


def sentences(shares: dict[str, float]) -> Iterator[str]:
    """Yield a warning for each modality without known attributes."""
    for modality, share in shares.items():
        if not share:
            yield (
                f"No private attributes of {modality}s are known; the model learns a substitute. "
                f"Give a table of them with --{modality}-private."
            )
