"""Index and search with an encoder of your own: python own_encoder.py GALLERY FILE

An encoder needs two members: ``space``, which names it, and ``embed``. avsearch finds the faces
and the speech; this encoder knows only how bright a face and how loud a voice is.
"""

import sys

import numpy as np

import avsearch
from avsearch.media import load_media


class Brightness:
    """Maps a face to its mean colour and a voice to its loudness in three bands."""

    space = avsearch.Space(model="brightness", weights_sha256="1", dim=3, metric="l2")

    def embed(self, media):
        """Return (n, 3) vectors, and no refusals."""
        vectors = np.array([self._vector(one.modality, load_media(one)) for one in media])
        return avsearch.Embedded(vectors.astype(np.float32).reshape(-1, 3), refusals={})

    def _vector(self, modality, data):
        if modality == "face":  # (height, width, 3) uint8
            return data.mean((0, 1)) / 255
        bands = np.array_split(np.abs(np.fft.rfft(data)), 3)  # (samples,) at 16 kHz
        return [np.log1p(band.mean()) for band in bands]


gallery, file = sys.argv[1:]
with avsearch.open(f"{gallery}/own-index", model=Brightness()) as index:
    index.add(gallery)
    for hit in index.query(file, want="any", by="item", top=5):
        print(f"{hit.rank}. {hit.person}  {hit.modality}  {hit.path}")
