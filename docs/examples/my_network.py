"""A network of one's own, as ``dwplus train --model my_network:build`` takes it: start the command in this folder.

``build`` is called with the numbers of bands and classes, and with what ``--set model_options={width=16}`` says.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchNet(nn.Module):
    """Three convolutions over both inputs: what a pixel and its neighbours up to 3 px away say."""

    def __init__(self, primary_bands: int, auxiliary_bands: int, classes: int, width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(primary_bands + auxiliary_bands, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), normalised, 0 = no data -> logits (B, classes, H, W)."""
        logits: Tensor = self.head(self.encoder(torch.cat([primary, auxiliary], dim=1)))
        return logits


build = PatchNet
