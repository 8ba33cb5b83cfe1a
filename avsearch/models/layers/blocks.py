"""Building blocks that several papers share."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

_CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
}


def conv_norm(
    ndim: int,
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int | tuple[int, int] = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Return a convolution without bias, then batch normalisation, over ``ndim`` axes.

    Padding keeps ``ceil(size / stride)`` positions for odd kernels.
    """
    conv = _CONV[ndim](
        channels_in, channels_out, kernel, cast(Any, stride), kernel // 2, groups=groups, bias=False
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
        """Return (B, C, ...) with each channel scaled by a gate of the means over positions."""
        gate: Tensor = self.gate(x.flatten(2).mean(2))  # (B, C)
        return x * gate.reshape(*gate.shape, *(1,) * (x.ndim - 2))


class SEResNeXtBlock(nn.Module):
    """Residual block of grouped convolutions (Xie et al., CVPR 2017) with SE before the sum.

    The inner convolutions have twice the channels; the last one halves them before the SE module
    (ADSM, section 3.3).
    """

    def __init__(
        self, ndim: int, channels: int, kernel: int, cardinality: int, reduction: int
    ) -> None:
        super().__init__()
        wide = 2 * channels
        halving = conv_norm(ndim, wide, channels, 1)
        # Every block starts as the identity, which helps the first steps.
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
        """Return the same shape as (B, C, ...)."""
        return torch.relu(x + self.body(x))


class CorrectedLinear(nn.Module):
    """A linear map of standardised inputs plus a correction with ``hidden`` units.

    The correction has two layers and starts as zero, so the linear map's initial output is kept.
    The linear map takes the first ``straight`` inputs (default: all), the correction takes all.
    Inputs are standardised only after a call of :meth:`standardise`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, dim_in: int, dim_out: int, hidden: int = 0, straight: int | None = None
    ) -> None:
        super().__init__()
        self.straight = dim_in if straight is None else straight
        self.register_buffer("mean", torch.zeros(dim_in))
        self.register_buffer("deviation", torch.ones(dim_in))
        self.linear = nn.Linear(self.straight, dim_out)
        self.correction: nn.Sequential | None = None
        if hidden:
            last = nn.Linear(hidden, dim_out)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.correction = nn.Sequential(nn.Linear(dim_in, hidden), nn.ReLU(), last)

    @torch.no_grad()
    def standardise(self, inputs: Tensor) -> None:
        """Standardise all later inputs by the mean and deviation of these, (n, dim_in).

        The inputs of the linear map share one deviation, their mean, and so do the others, so that
        both keep their proportions.
        """
        deviation, mean = torch.std_mean(inputs, 0)
        self.mean.copy_(mean)
        for part in (slice(self.straight), slice(self.straight, None)):
            self.deviation[part] = deviation[part].mean()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, dim_out) of inputs (B, dim_in)."""
        x = (x - self.mean) / self.deviation
        y: Tensor = self.linear(x[:, : self.straight])
        return y if self.correction is None else y + self.correction(x)


class SelfAttention(nn.Module):
    """Self-attention over the positions of a map (SAGAN, Zhang et al., ICML 2019, section 3).

    All of its convolutions are spectrally normalised. A new one is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 8)
        self.query = spectral_norm(nn.Conv1d(channels, hidden, 1))
        self.key = spectral_norm(nn.Conv1d(channels, hidden, 1))
        self.value = spectral_norm(nn.Conv1d(channels, channels, 1))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the same shape as maps (B, C, h, w)."""
        x = maps.flatten(2)  # (B, C, N)
        attention = (self.query(x).mT @ self.key(x)).softmax(2)  # (B, N, N), over the keys
        attended = self.value(x) @ attention.mT  # (B, C, N)
        summed: Tensor = maps + self.gamma * attended.reshape(maps.shape)
        return summed


class SwitchableNorm(nn.Module):
    """Switchable normalisation (Luo et al., ICLR 2019) of vectors or tokens.

    Mean and variance are learned mixtures of those of the row (layer) and of the batch, which are
    running ones in evaluation. The third kind, instance statistics, needs positions, which
    vectors do not have.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, dim: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.mean_mix = nn.Parameter(torch.zeros(2))  # layer, batch; before the softmax
        self.variance_mix = nn.Parameter(torch.zeros(2))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_variance", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape as (B, ..., dim)."""
        layer_variance, layer_mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        batch_variance, batch_mean = self._batch_statistics(x)
        means, variances = self.mean_mix.softmax(0), self.variance_mix.softmax(0)
        mean = means[0] * layer_mean + means[1] * batch_mean
        variance = variances[0] * layer_variance + variances[1] * batch_variance
        normal = (x - mean) * (variance + 1e-5).rsqrt()
        return normal * self.weight + self.bias

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.running_variance, self.running_mean
        variance, mean = torch.var_mean(x.flatten(0, -2), 0, correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_variance.lerp_(variance.to(self.running_variance), self.momentum)
        return variance, mean


class MatchingHead(nn.Module):
    """A classifier of the anchor's match among k candidates.

    DSANet and P2VANet concatenate all k + 1 embeddings for fully connected layers with k outputs,
    whose answer depends on the order of the candidates. Here the outputs share their layers: the
    input is the anchor, the candidate, and the mean of the other candidates. So the answer is
    equivariant to the order, and k is free.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(3 * dim, 2 * dim)
        self.score = nn.Linear(2 * dim, 1)
        with torch.no_grad():  # initially the input is anchor minus candidate
            weight = self.hidden.weight
            weight[:, dim : 2 * dim] = -weight[:, :dim]
            weight[:, 2 * dim :] = 0

    def forward(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        """Return logits (n, k) of anchors (n, dim) and candidates (n, k, dim), k at least 2."""
        k = candidates.shape[1]
        others = (candidates.sum(1, keepdim=True) - candidates) / (k - 1)
        seen = torch.cat([anchors[:, None].expand_as(candidates), candidates, others], 2)
        logits: Tensor = self.score(functional.relu(self.hidden(seen)))
        return logits.squeeze(2)


def fuse_norms(module: nn.Module) -> None:
    """Fold every :func:`conv_norm` of a network in evaluation into its convolution, in place.

    The function stays the same with fewer passes over memory; the network cannot be trained after.
    """
    for child in module.modules():
        if isinstance(child, nn.Sequential) and len(child) == 2:
            conv, norm = child
            if isinstance(conv, nn.Conv1d | nn.Conv2d) and isinstance(
                norm, nn.BatchNorm1d | nn.BatchNorm2d
            ):
                child[0] = fuse_conv_bn_eval(conv, norm)
                child[1] = nn.Identity()
