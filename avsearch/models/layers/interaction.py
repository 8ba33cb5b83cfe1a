"""Parts of the interactions of ACIENet and AICANet; they treat every row of a batch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SHORT = 1e-3  # the length below which a position is not normalised


class CompactBilinear(nn.Module):
    """Compact bilinear pooling of two vectors (Gao et al., CVPR 2016): count sketches by FFT.

    Approximates the outer product in ``dim`` values. The random hashes are part of the model.
    """

    places: Tensor
    signs: Tensor

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("places", torch.randint(dim, (2, channels)))
        self.register_buffer("signs", torch.randint(2, (2, channels)) * 2.0 - 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return signed roots of unit length (B, dim) of vectors (B, channels), twice."""
        spectra = [torch.fft.rfft(self._sketch(x.float(), at)) for at, x in enumerate((a, b))]
        product = torch.fft.irfft(spectra[0] * spectra[1], self.dim)
        rooted = product / (product.abs() + 1e-6).sqrt()  # the gradient at zero is finite
        return functional.normalize(rooted)

    def _sketch(self, x: Tensor, at: int) -> Tensor:
        empty = x.new_zeros(len(x), self.dim)
        return empty.index_add(1, self.places[at], x * self.signs[at])


class Gate(nn.Module):
    """Masks between zero and one from a map's mean and maximum (SENet).

    ``bias`` is the initial bias of the last layer, before the sigmoid.
    """

    def __init__(self, channels: int, reduction: int = 16, *, bias: float = 0.0) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        last = nn.Linear(hidden, channels)
        nn.init.constant_(last.bias, bias)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), last, nn.Sigmoid())

    def forward(self, maps: Tensor) -> Tensor:
        """Return masks (B, C, 1, 1) of maps (B, C, h, w)."""
        positions = maps.flatten(2)
        masks: Tensor = self.layers(positions.mean(2) + positions.amax(2))
        return masks[:, :, None, None]


def attend(weights: Tensor, maps: Tensor) -> Tensor:
    """Return maps (B, C, h, w) with positions mixed by weights (B, h * w, h * w)."""
    positions = maps.flatten(2).transpose(1, 2)  # (B, h * w, C)
    return (weights @ positions).transpose(1, 2).reshape(maps.shape)


def unit_positions(maps: Tensor) -> Tensor:
    """Return maps (B, C, h, w) as positions (B, h * w, C) of unit length over the channels.

    Positions shorter than a thousandth stay short: they carry no information, and float16 could
    not hold the gradients of their normalisation.
    """
    positions = maps.float().flatten(2).transpose(1, 2)
    return functional.normalize(positions, dim=2, eps=_SHORT)
