"""UPerNet's decode head: pyramid pooling on the coarsest map, a feature pyramid on all of them, one fused prediction.

Source: Xiao et al. 2018 (arXiv 1807.10221), section 3, with its head for semantic segmentation alone. As in common use
every convolution is followed by BatchNorm and ReLU, and up-sampling is bilinear with corners not aligned.

Letters: B batch, C channels, h and w the grid of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .convolutions import PyramidPooling, conv_norm
from .layers import initialise, quieten, resize


class UPerNet(nn.Module):
    """Maps of several resolutions to logits at the finest of them.

    Weights start as ResNet's do (fan-out), those of the classification from a normal distribution of 0.01. Training
    needs a batch of two: the coarsest level of the pyramid pooling leaves one value per channel and image to its norm.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        channels: int,
        classes: int,
        *,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        coarsest = widths[-1]
        self.pooling = PyramidPooling(coarsest, channels, bins=bins)
        self.top = conv_norm(coarsest + len(bins) * channels, channels, 3)
        self.laterals = nn.ModuleList(conv_norm(width, channels) for width in widths[:-1])
        self.smooth = nn.ModuleList(conv_norm(channels, channels, 3) for _ in widths[:-1])
        self.fuse = conv_norm(len(widths) * channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels, classes, 1)
        self.apply(initialise)
        quieten(self.classify)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), finest first -> logits (B, classes, h_1, w_1)."""
        levels = self._top_down(maps)
        smoothed = [smooth(level) for smooth, level in zip(self.smooth, levels[:-1], strict=True)]
        finest = levels[0].shape[-2:]
        fused = self.fuse(torch.cat([resize(level, finest) for level in (*smoothed, levels[-1])], dim=1))
        logits: Tensor = self.classify(self.dropout(fused))
        return logits

    def _top_down(self, maps: list[Tensor]) -> list[Tensor]:
        """Every map at ``channels`` channels plus all that is coarser, finest first."""
        levels: list[Tensor] = [self.top(self.pooling(maps[-1]))]
        for lateral, one in zip(reversed(self.laterals), reversed(maps[:-1]), strict=True):
            levels.append(lateral(one) + resize(levels[-1], one.shape[-2:]))
        return levels[::-1]
