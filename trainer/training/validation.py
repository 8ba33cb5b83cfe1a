"""How good a model is in training, on the validation people: always the same items, no chance."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.data.dataset import DataSet, Ints, Side
from trainer.evaluation.calibration import calibrated
from trainer.evaluation.embedding_map import Embeddings, mean_average_precision
from trainer.evaluation.metrics import roc_auc

_ROWS = 64  # items of one forward pass


def first_items(people: Ints, each: int) -> Ints:
    """Positions of at most ``each`` items of every person, evenly spread over theirs."""
    chosen = []
    for person in np.unique(people):
        own = np.flatnonzero(people == person)
        chosen.append(own[np.linspace(0, len(own) - 1, min(each, len(own))).astype(int)])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


class Validation:
    """Scores of a model on some items of every validation person.

    ``score``, which decides which step is kept, is the mean of both directions' mean average
    precision of retrieval across the modalities, by the label that these share: the person, or
    the gender where no person has both. Besides, the area under the ROC curve of telling pairs
    of one label from pairs of two.
    """

    def __init__(self, model: nn.Module, data: DataSet, device: torch.device, each: int) -> None:
        self._model, self._device = model, device
        self._faces = data.faces.take(first_items(data.faces.people, each))
        self._voices = data.voices.take(first_items(data.voices.people, each))

    @torch.inference_mode()
    def __call__(self) -> dict[str, float]:
        """Scores by name."""
        faces, voices = self._vectors()
        return cross_modal_scores(faces, self._faces.labels, voices, self._voices.labels)

    @torch.inference_mode()
    def calibrated(self) -> dict[str, Any]:
        """What the scores of the same items are worth, as a checkpoint's record keeps it."""
        sides = (self._faces, self._voices)
        return calibrated(
            *(
                Embeddings(vectors, side.people, side.labels)
                for vectors, side in zip(self._vectors(), sides, strict=True)
            )
        )

    def _vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._model.eval()
        model = cast(Any, self._model)
        return (
            forward(model.embed_face, self._faces, self._device),
            forward(model.embed_voice, self._voices, self._device),
        )


def forward(
    function: Callable[..., Tensor], side: Side, device: torch.device
) -> NDArray[np.float32]:
    """What a function of a model gives of every item of a side, (n, ...), without chance.

    It is given the items' private attributes too, where they have any and it takes them.
    """
    takes_private = side.private is not None and "private" in signature(function).parameters
    parts = []
    for start in range(0, len(side), _ROWS):
        batch = side.batch(np.arange(start, min(start + _ROWS, len(side))))
        batch = batch.each(lambda tensor: tensor.to(device))
        made = function(*(batch.inputs, batch.private)[: 1 + takes_private])
        parts.append(made.float().cpu().numpy())
    return np.concatenate(parts)


def cross_modal_scores(
    faces: NDArray[np.float32], face_labels: Ints, voices: NDArray[np.float32], voice_labels: Ints
) -> dict[str, float]:
    """Scores of unit vectors (n, dim) and (m, dim); items whose label the others lack do not ask.

    NaN where no label is on both sides.
    """
    scores = voices @ faces.T  # (m, n)
    same = voice_labels[:, None] == face_labels[None]
    voice_to_face = mean_average_precision(scores, voice_labels, face_labels)
    face_to_voice = mean_average_precision(scores.T, face_labels, voice_labels)
    return {
        "score": (voice_to_face + face_to_voice) / 2,
        "voice_to_face_map": voice_to_face,
        "face_to_voice_map": face_to_voice,
        "auc": roc_auc(scores.ravel(), same.ravel()),
    }
