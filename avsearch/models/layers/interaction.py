"""What the interactions of ACIENet and AICANet are made of; every row of a batch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SHORT = 1e-3  # length of a position


class CompactBilinear(nn.Module):
    """Compact bilinear pooling of two vectors (Gao et al., CVPR 2016): count sketches, by FFT.

    Approximates the outer product in ``dim`` values. The hashes are drawn once and belong to
    the model.
    """

    places: Tensor
    signs: Tensor

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("places", torch.randint(dim, (2, channels)))
        self.register_buffer("signs", torch.randint(2, (2, channels)) * 2.0 - 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Vectors (B, channels) and (B, channels) to (B, dim), signed roots of unit length."""
        spectra = [torch.fft.rfft(self._sketch(x.float(), at)) for at, x in enumerate((a, b))]
        product = torch.fft.irfft(spectra[0] * spectra[1], self.dim)
        rooted = product / (product.abs() + 1e-6).sqrt()  # a gradient that is finite at nought
        return functional.normalize(rooted)

    def _sketch(self, x: Tensor, at: int) -> Tensor:
        empty = x.new_zeros(len(x), self.dim)
        return empty.index_add(1, self.places[at], x * self.signs[at])


class Gate(nn.Module):
    """Masks (B, C, 1, 1) between nought and one from a map's mean and maximum (SENet).

    ``bias`` of the last layer says where the masks start.
    """

    def __init__(self, channels: int, reduction: int = 16, *, bias: float = 0.0) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        last = nn.Linear(hidden, channels)
        nn.init.constant_(last.bias, bias)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), last, nn.Sigmoid())

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, 1, 1)."""
        positions = maps.flatten(2)
        masks: Tensor = self.layers(positions.mean(2) + positions.amax(2))
        return masks[:, :, None, None]


def attend(weights: Tensor, maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) whose positions are mixed by weights (B, h * w, h * w)."""
    positions = maps.flatten(2).transpose(1, 2)  # (B, h * w, C)
    return (weights @ positions).transpose(1, 2).reshape(maps.shape)


def unit_positions(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) as positions (B, h * w, C) of unit length over the channels.

    Positions shorter than a thousandth stay short: they say nothing, and made longer they would
    get gradients that float16 cannot hold.
    """
    positions = maps.float().flatten(2).transpose(1, 2)
    return functional.normalize(positions, dim=2, eps=_SHORT)
