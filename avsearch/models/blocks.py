"""Building blocks that several papers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
}


def conv_norm(
    ndim: int, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, then batch normalisation, over one (time) or two (picture) axes.

    Padding keeps ``ceil(size / stride)`` positions for odd kernels.
    """
    conv = _CONV[ndim](
        channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(conv, _NORM[ndim](channels_out))


class SqueezeExcitation(nn.Module):
    """Channel-wise recalibration (Hu et al., CVPR 2018), over any number of positions."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel of (B, C, ...) by a gate that its means over positions decide."""
        gate: Tensor = self.gate(x.flatten(2).mean(2))  # (B, C)
        return x * gate.reshape(*gate.shape, *(1,) * (x.ndim - 2))


class SEResNeXtBlock(nn.Module):
    """Residual block of grouped convolutions (Xie et al., CVPR 2017) with SE before the sum.

    The convolutions inside run at twice the channels; the last one halves them again before
    the SE module, as section 3.3 of ADSM describes its block.
    """

    def __init__(
        self, ndim: int, channels: int, kernel: int, cardinality: int, reduction: int
    ) -> None:
        super().__init__()
        wide = 2 * channels
        halving = conv_norm(ndim, wide, channels, 1)
        # Every block starts as the identity, with which the first steps learn more.
        nn.init.zeros_(halving.get_parameter("1.weight"))
        self.body = nn.Sequential(
            conv_norm(ndim, channels, wide, 1),
            nn.ReLU(inplace=True),
            conv_norm(ndim, wide, wide, kernel, groups=cardinality),
            nn.ReLU(inplace=True),
            halving,
            SqueezeExcitation(channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        return torch.relu(x + self.body(x))


def fuse_norms(module: nn.Module) -> None:
    """Fold every :func:`conv_norm` of an evaluated network into its convolution, in place.

    The same function in fewer passes over memory; no training after it.
    """
    for child in module.modules():
        if isinstance(child, nn.Sequential) and len(child) == 2:
            conv, norm = child
            if isinstance(conv, nn.Conv1d | nn.Conv2d) and isinstance(
                norm, nn.BatchNorm1d | nn.BatchNorm2d
            ):
                child[0] = fuse_conv_bn_eval(conv, norm)
                child[1] = nn.Identity()
