"""Two ResNets side by side with weight-standardised convolutions: the convolutional part of FTransUNet.

Source: Kolesnikov et al. 2020 (BiT, arXiv 1912.11370) for weight standardisation with GroupNorm, Chen et al. 2021
(TransUNet, arXiv 2102.04306) for the hybrid encoder, Ma et al. 2024 (FTransUNet, DOI 10.1109/TGRS.2024.3373033) for the
two branches and their fusion by squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507).

Neither ``StandardisedConv2d`` nor ``nn.GroupNorm`` is known to the paper's counter, so of this file only the fusions
count there.

Letters: B batch, C channels, H and W the input in pixels, h and w the grid of a map.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]
"""The primary and the auxiliary branch's tensor."""

WEIGHT_EPS = 1e-5
NORM_EPS = 1e-6


class StandardisedConv2d(nn.Conv2d):
    """Convolution whose filters have mean 0 and variance 1 over (C_in, kernel, kernel) before they are used.

    A layer norm of the filters without scale and shift is just that: biased variance, eps inside the root. The filters
    stay in float32 for it under autocast.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that nn.Conv2d gives it
        weight = F.layer_norm(self.weight, self.weight.shape[1:], eps=WEIGHT_EPS)
        out: Tensor = self._conv_forward(input, weight, self.bias)
        return out


def _conv_norm(
    channels_in: int, channels: int, kernel: int, *, groups: int, stride: int = 1, activate: bool = True
) -> nn.Sequential:
    """Weight-standardised convolution without bias, GroupNorm and, if wanted, ReLU."""
    layers: list[nn.Module] = [
        StandardisedConv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(groups, channels, eps=NORM_EPS),
    ]
    if activate:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (strided), 1 x 1, each conv-norm-ReLU; the last ReLU acts on the sum with the shortcut.

    Called pre-activated in the originals, but normalised after the convolutions. Where the shape changes, the shortcut
    is a convolution and a GroupNorm with one group per channel, eps 1e-5.
    """

    def __init__(self, channels_in: int, width: int, *, stride: int, groups: int) -> None:
        super().__init__()
        channels = 4 * width
        self.branch = nn.Sequential(
            _conv_norm(channels_in, width, 1, groups=groups),
            _conv_norm(width, width, 3, groups=groups, stride=stride),
            _conv_norm(width, channels, 1, groups=groups, activate=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                StandardisedConv2d(channels_in, channels, 1, stride, bias=False), nn.GroupNorm(channels, channels)
            )
        self.activation = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, 4 x width, h / stride, w / stride), rounded up."""
        out: Tensor = self.activation(self.shortcut(image) + self.branch(image))
        return out


class StandardisedResNet(nn.Module):
    """Stem and three blocks of one branch; the branches meet between them, so ``DualResNet`` calls the parts.

    Args:
        bands: channels of the input.
        width: channels of the stem; the blocks have 4, 8 and 16 times as many.
        units: bottlenecks of each block.
        groups: of all GroupNorms but those of the shortcuts.
    """

    def __init__(self, bands: int, *, width: int, units: tuple[int, int, int], groups: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            StandardisedConv2d(bands, width, 7, 2, 3, bias=False), nn.GroupNorm(groups, width, eps=NORM_EPS), nn.ReLU()
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Bottleneck(channels_in, inner, stride=stride, groups=groups),
                *(Bottleneck(4 * inner, inner, stride=1, groups=groups) for _ in range(count - 1)),
            )
            for channels_in, inner, stride, count in zip(
                (width, 4 * width, 8 * width), (width, 2 * width, 4 * width), (1, 2, 2), units, strict=True
            )
        )


class Excitation(nn.Module):
    """Squeeze-and-excitation: every channel times a weight between 0 and 1 that all channels' means decide on."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, channels // ratio, 1),
            nn.ReLU(),
            nn.Conv2d(channels // ratio, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        out: Tensor = image * self.weigh(image.mean((2, 3), keepdim=True))
        return out


class ExcitedSum(nn.Module):
    """The sum of both branches' maps after an excitation of each."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.primary = Excitation(channels, ratio)
        self.auxiliary = Excitation(channels, ratio)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Twice (B, C, h, w) -> (B, C, h, w)."""
        out: Tensor = self.primary(primary) + self.auxiliary(auxiliary)
        return out


class DualResNet(nn.Module):
    """Two ResNets; after the stem and after each block the primary branch continues with the fusion of both.

    The auxiliary branch continues with its own maps: it never sees the primary one.
    """

    def __init__(
        self, bands: tuple[int, int], *, width: int, units: tuple[int, int, int], groups: int, ratio: int
    ) -> None:
        super().__init__()
        self.primary = StandardisedResNet(bands[0], width=width, units=units, groups=groups)
        self.auxiliary = StandardisedResNet(bands[1], width=width, units=units, groups=groups)
        self.fusions = nn.ModuleList(ExcitedSum(factor * width, ratio) for factor in (1, 4, 8, 16))
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Pair, list[Tensor]]:
        """Deepest maps and the primary branch's skips.

        Args:
            primary, auxiliary: (B, C_p, H, W) and (B, C_a, H, W), H and W multiples of 16.

        Returns:
            Both maps (B, 16 x width, H/16, W/16); skips (B, 8 x width, H/8, W/8), (B, 4 x width, H/4, W/4) and
            (B, width, H/2, W/2).
        """
        height, width = primary.shape[-2:]
        auxiliary = self.auxiliary.stem(auxiliary)
        primary = self.fusions[0](self.primary.stem(primary), auxiliary)
        skips = [primary]
        primary, auxiliary = self.pool(primary), self.pool(auxiliary)
        for level in range(3):
            auxiliary = self.auxiliary.blocks[level](auxiliary)
            primary = self.fusions[level + 1](self.primary.blocks[level](primary), auxiliary)
            stride = 4 << level
            skips.append(_filled(primary, (height // stride, width // stride)))
        return (primary, auxiliary), skips[2::-1]  # coarsest first; the deepest map is no skip


def _filled(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), zeros right and below: the unpadded pool leaves H/4 - 1 cells of H/4."""
    down, right = size[0] - image.shape[2], size[1] - image.shape[3]
    return F.pad(image, (0, right, 0, down)) if down or right else image
