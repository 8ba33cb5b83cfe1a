"""The trunks that several papers name: media to feature maps (B, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avsearch.models.blocks import SqueezeExcitation, conv_norm


class Conv5(nn.Sequential):
    """Five small convolutions, each with normalisation and ReLU, then pooled to one size.

    The first four halve the picture; the widths are of the five, the last being the map's.
    """

    def __init__(self, channels: int, widths: Sequence[int], size: tuple[int, int]) -> None:
        layers: list[nn.Module] = []
        for place, width in enumerate(widths):
            layers += [
                conv_norm(2, channels, width, 3, stride=2 if place < 4 else 1),
                nn.ReLU(inplace=True),
            ]
            channels = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(size))


class BasicBlock(nn.Module):
    """Residual block of two convolutions (He et al., CVPR 2016), with SE before the sum if asked.

    The names of its parts are those of torchvision, so that weights published for it fit.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, reduction: int | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.gate = nn.Identity() if reduction is None else SqueezeExcitation(channels, reduction)
        self.downsample = (
            nn.Sequential()
            if stride == 1 and channels_in == channels
            else conv_norm(2, channels_in, channels, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        inside = torch.relu(self.bn1(self.conv1(x)))
        inside = self.gate(self.bn2(self.conv2(inside)))
        return torch.relu(inside + self.downsample(x))


class ResNet(nn.Module):
    """Residual network of basic blocks (He et al., CVPR 2016) without its last pooling.

    ``depths`` are the blocks of its four stages, whose channels are 1, 2, 4 and 8 times
    ``width``; with ``reduction`` every block has an SE module (Hu et al., CVPR 2018). A
    ``last_stride`` of 1 keeps the last stage at the size of the one before it.
    """

    def __init__(
        self,
        channels: int,
        depths: Sequence[int],
        *,
        width: int = 64,
        reduction: int | None = None,
        last_stride: int = 2,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages = []
        channels = width
        firsts = (1, 2, 2, last_stride)
        for place, (depth, first) in enumerate(zip(depths, firsts, strict=True)):
            wide = width * 2**place
            strides = [first, *[1] * (depth - 1)]
            blocks = [
                BasicBlock(channels if at == 0 else wide, wide, stride, reduction)
                for at, stride in enumerate(strides)
            ]
            stages.append(nn.Sequential(*blocks))
            channels = wide
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, 8 * width, H / 32, W / 32), or / 16 by the last stride."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps


def resnet18(channels: int = 3, *, width: int = 64, last_stride: int = 2) -> ResNet:
    """ResNet-18."""
    return ResNet(channels, (2, 2, 2, 2), width=width, last_stride=last_stride)


def se_resnet34(channels: int = 1, *, width: int = 64, reduction: int = 16) -> ResNet:
    """SE-ResNet-34."""
    return ResNet(channels, (3, 4, 6, 3), width=width, reduction=reduction)


class FrozenFeatures(nn.Module):
    """Stands where a trunk stands, for features that another encoder computed.

    Vectors (B, d) go through one linear layer, maps (B, c, h, w) through a convolution of one
    position and a pooling, to the size that the model behind expects.
    """

    def __init__(self, shape: Sequence[int], to: tuple[int, int, int]) -> None:
        super().__init__()
        self.to_shape = to
        channels, *size = to
        if len(shape) == 3:
            self.layer: nn.Module = nn.Sequential(
                conv_norm(2, shape[0], channels, 1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d((size[0], size[1])),
            )
        else:
            self.layer = nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(shape), math.prod(to)), nn.ReLU()
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, *shape) to (B, *to)."""
        mapped: Tensor = self.layer(features)
        return mapped.reshape(-1, *self.to_shape)
