"""Backbones of several papers: media to feature maps (B, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.layers.blocks import SqueezeExcitation, conv_norm


class Conv5(nn.Sequential):
    """Five small convolutions, each with normalisation and ReLU, then pooling to one size.

    The first four halve the picture. ``widths`` are the channels of the five.
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
    """Residual block of two convolutions (He et al., CVPR 2016), with optional SE before the sum.

    The names of its parts are those of torchvision, so published weights fit.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int | tuple[int, int], reduction: int | None
    ) -> None:
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
        """Return (B, channels, H / stride, W / stride) of (B, channels_in, H, W)."""
        inside = torch.relu(self.bn1(self.conv1(x)))
        inside = self.gate(self.bn2(self.conv2(inside)))
        return torch.relu(inside + self.downsample(x))


class ResNet(nn.Module):
    """Residual network of basic blocks (He et al., CVPR 2016) without its last pooling.

    Args:
        channels: Channels of the input.
        depths: Blocks of the four stages, whose channels are 1, 2, 4 and 8 times ``width``.
        width: Channels of the first stage.
        reduction: Of the SE module of every block (Hu et al., CVPR 2018); None has no SE.
        last_stride: A stride of 1 keeps the last stage at the size of the one before it.
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
        """Return (B, 8 * width, H / 32, W / 32) of (B, channels, H, W), or / 16 by last_stride."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps


def resnet18(channels: int = 3, *, width: int = 64, last_stride: int = 2) -> ResNet:
    """Return a ResNet-18."""
    return ResNet(channels, (2, 2, 2, 2), width=width, last_stride=last_stride)


def se_resnet34(channels: int = 1, *, width: int = 64, reduction: int = 16) -> ResNet:
    """Return an SE-ResNet-34."""
    return ResNet(channels, (3, 4, 6, 3), width=width, reduction=reduction)


class UnpaddedBlock(nn.Module):
    """Residual block of two convolutions in which the convolution of stride 2 is not padded.

    The shortcut is then a mean over 2 x 2. Both are zero-padded to the larger size and channels.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 0 if stride == 2 else 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H / stride, W / stride) of (B, channels_in, H, W)."""
        inside = self.conv2(torch.relu(self.conv1(x)))
        past = functional.avg_pool2d(x, 2) if self.stride == 2 else x
        shape = [max(sizes) for sizes in zip(inside.shape[1:], past.shape[1:], strict=True)]
        return torch.relu(_padded(inside, shape) + _padded(past, shape))


def _padded(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Return maps (B, c, h, w) zero-padded at the end to (B, *shape)."""
    channels, height, width = (to - now for to, now in zip(shape, maps.shape[1:], strict=True))
    if not (channels or height or width):
        return maps
    return functional.pad(maps, (0, width, 0, height, 0, channels))


class ResNet29(nn.Module):
    """The residual network of dlib's face recognition (King, 2017): 29 layers, no normalisation.

    Its published weights fit after its affine layers are folded into the convolutions before
    them. The input is a square of ``size`` pixels a side, whose centre is ``down`` pixels below
    that of the crop.
    """

    channels = 256

    def __init__(self, size: int = 150, down: int = 0) -> None:
        super().__init__()
        self.size, self.down = size, down
        self.conv = nn.Conv2d(3, 32, 7, 2)
        blocks = []
        channels = 32
        for width, depth, stride in ((32, 3, 1), (64, 4, 2), (128, 3, 2), (256, 3, 2), (256, 1, 2)):
            for at in range(depth):
                blocks.append(UnpaddedBlock(channels, width, stride if at == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 256) of crops (B, 3, H, W) in [-1, 1], H and W at least ``size``."""
        top, left = (x.shape[2] - self.size) // 2 + self.down, (x.shape[3] - self.size) // 2
        x = x[:, :, top : top + self.size, left : left + self.size]
        x = functional.max_pool2d(torch.relu(self.conv(x)), 3, 2)
        pooled: Tensor = self.blocks(x).mean((2, 3))
        return pooled


class MaskedLayer(nn.Module):
    """A densely connected time-delay layer whose outputs are masked by their context.

    The context of a frame is the mean over all frames plus that over its segment of 100 (Wang et
    al., Interspeech 2023).
    """

    def __init__(self, channels_in: int, channels: int, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels_in)
        self.narrow = conv_norm(1, channels_in, width, 1)
        self.local = nn.Conv1d(width, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.mask = nn.Sequential(
            nn.Conv1d(width, width // 2, 1), nn.ReLU(), nn.Conv1d(width // 2, channels, 1)
        )

    def forward(self, x: Tensor, pool: Tensor, spread: Tensor) -> Tensor:
        """Return (B, channels, frames) of (B, channels_in, frames) and :func:`pooling_matrices`."""
        x = torch.relu(self.narrow(torch.relu(self.norm(x))))
        masks = torch.sigmoid(self.mask(x @ pool))
        masked: Tensor = self.local(x) * (masks @ spread)
        return masked


def pooling_matrices(frames: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrices that pool frames to contexts, (frames, n), and spread contexts to frames.

    A context is the mean over a segment of 100 frames plus the mean over all. Two products a layer
    keep the nodes of an ONNX file few, and its loading time grows with their number.
    """
    own = np.arange(frames) // 100 == np.arange(-(-frames // 100))[:, None]
    pool = own.T / own.sum(1) + 1 / frames
    pooling, spreading = (torch.from_numpy(each.astype(np.float32)) for each in (pool, own))
    return pooling.to(like), spreading.to(like)


class MaskedBlock(nn.Module):
    """Masked layers with dense connections, then a layer that halves the channels."""

    def __init__(self, channels_in: int, layers: int, dilation: int) -> None:
        super().__init__()
        growth, width = 32, 128  # channels of a layer's output, and within it
        self.layers = nn.ModuleList(
            MaskedLayer(channels_in + growth * at, growth, width, dilation) for at in range(layers)
        )
        channels = channels_in + growth * layers
        self.channels = channels // 2
        self.halving = nn.Sequential(
            nn.BatchNorm1d(channels), nn.ReLU(), nn.Conv1d(channels, self.channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, frames) of (B, channels_in, frames)."""
        matrices = pooling_matrices(int(x.shape[2]), x)
        for layer in self.layers:
            x = torch.cat([x, layer(x, *matrices)], 1)
        halved: Tensor = self.halving(x)
        return halved


class CAMPlus(nn.Module):
    """CAM++, a speaker encoder (Wang et al., Interspeech 2023), with its published sizes.

    A convolutional head over 80 bands, three blocks of densely connected masked layers, the mean
    and deviation over time, and a speaker embedding of 192 values. The output also has the means
    and deviations, which still carry a voice's gender. The weights have their published order.
    """

    values = 192
    channels = values + 2 * 512

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(
            conv_norm(2, 1, 32, 3),
            nn.ReLU(),
            *(BasicBlock(32, 32, stride, None) for stride in ((2, 1), 1, (2, 1), 1)),
            conv_norm(2, 32, 32, 3, (2, 1)),
            nn.ReLU(),
        )
        self.begin = nn.Sequential(conv_norm(1, 320, 128, 5, 2), nn.ReLU())
        blocks: list[MaskedBlock] = []
        channels = 128
        for layers, dilation in ((12, 1), (24, 2), (16, 2)):
            blocks.append(MaskedBlock(channels, layers, dilation))
            channels = blocks[-1].channels
        self.blocks = nn.Sequential(*blocks)
        self.end = nn.Sequential(nn.BatchNorm1d(channels), nn.ReLU())
        self.last = nn.Sequential(
            nn.Linear(2 * channels, self.values, bias=False),
            nn.BatchNorm1d(self.values, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 1216) of (B, 80, frames): 192 values and 1024 statistics, unit vectors."""
        x = self.begin(self.head(x.unsqueeze(1)).flatten(1, 2))
        deviation, mean = torch.std_mean(self.end(self.blocks(x)), 2)
        statistics = torch.cat([mean, deviation], 1)
        parts = self.last(statistics), statistics
        return torch.cat([functional.normalize(part) for part in parts], 1)


class FrozenFeatures(nn.Module):
    """The replacement of a trunk for features of another encoder.

    Vectors (B, d) pass one linear layer; maps (B, c, h, w) pass a 1 x 1 convolution and a pooling
    to the size that the model expects.
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
        """Return (B, *to) of features (B, *shape)."""
        mapped: Tensor = self.layer(features)
        return mapped.reshape(-1, *self.to_shape)
