"""What networks are compared with on a few chips: a forest on single pixels, and four convolutions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from dwplus.pipeline.dataset.samples import Dataset, Sample
from dwplus.pipeline.spec.bands import decode
from dwplus.pipeline.spec.classes import IGNORE
from numpy.typing import NDArray
from torch import Tensor, nn

from .real_scores import Predicted

TREES = 100
PIXELS_PER_TILE = 2000


class FourLayers(nn.Module):
    """Four convolutions of 3 x 3 px with batch norms over both inputs: what lies up to 4 px around a pixel."""

    def __init__(self, primary_bands: int, auxiliary_bands: int, classes: int, width: int = 32) -> None:
        super().__init__()
        sizes = (primary_bands + auxiliary_bands, width, width, width)
        layers = [
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(sizes)
        ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, classes, 3, padding=1))

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), normalised, 0 = no data -> logits (B, classes, H, W)."""
        logits: Tensor = self.layers(torch.cat([primary, auxiliary], dim=1))
        return logits


def forest(train: Dataset, test: Dataset, seed: int) -> Predicted:
    """What a random forest on the bands of single pixels says of the test tiles' pixels that count."""
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    pixels, labels = [], []
    for sample in train:
        values, counts = _pixels(train, sample), sample.label != IGNORE
        drawn = rng.permutation(int(counts.sum()))[:PIXELS_PER_TILE]
        pixels.append(values[:, counts].T[drawn])
        labels.append(sample.label[counts][drawn])
    found = RandomForestClassifier(TREES, min_samples_leaf=2, n_jobs=1, random_state=seed)
    found.fit(np.concatenate(pixels), np.concatenate(labels))
    predicted = {}
    for sample in test:
        counts = sample.label != IGNORE
        classes = np.full(sample.label.shape, IGNORE, np.uint8)
        if counts.any():
            classes[counts] = found.predict(_pixels(test, sample)[:, counts].T)
        predicted[sample.tile_id] = classes
    return predicted


def _pixels(dataset: Dataset, sample: Sample) -> NDArray[np.float32]:
    """Physical values of all bands, (bands, H, W)."""
    parts = ((sample.primary, dataset.primary), (sample.auxiliary, dataset.auxiliary))
    return np.concatenate([decode(part, bands) for part, bands in parts])
