"""MTCNN by torch, as facenet-pytorch has it. The only importer of facenet_pytorch.

``trainer.recipes.write_detectors`` makes ONNX files of its networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN

from avsearch.media.pictures.images import Picture


class TorchMtcnn:
    """The three networks; threads may share them."""

    def __init__(self, smallest_px: int) -> None:
        self.networks = MTCNN(keep_all=True, min_face_size=smallest_px).eval()

    @torch.inference_mode()
    def detect(self, rgb: Picture) -> tuple[Any, Any]:
        """Faces in a picture, as :meth:`avsearch.media.detectors.mtcnn.Mtcnn.detect` gives them."""
        corners, probabilities = self.networks.detect(rgb)
        if corners is None:
            return np.empty((0, 4), np.float32), np.empty(0, np.float32)
        return corners, probabilities
