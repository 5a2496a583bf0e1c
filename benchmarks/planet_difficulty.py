"""How hard the sandbox's land cover is: overall accuracy of a random forest on single pixels.

    python benchmarks/planet_difficulty.py [--tiles 132] [--seed 7] [--dates 40]

Trains on the experts' training tiles and tests on the test tiles of the sandbox, both as released; pixels that are
unmarked or marked as cloud, and those under clouds in the scene, are left out. Prints as Markdown the overall accuracy
of always predicting the commonest class, and that from red, green and blue alone, from ten Sentinel-2 bands, from the
mean VV and VH of all dates, and from both. Needs scikit-learn. Takes about three minutes on one core.
"""

from __future__ import annotations

import sys

import numpy as np
from dwplus.local_ee.catalogue.annotations import annotate
from dwplus.local_ee.catalogue.sites import SandboxTile, cloudy
from dwplus.local_ee.planet import noise
from dwplus.local_ee.planet.labelling import Annotator
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from numpy.typing import NDArray
from rigs import arguments
from rigs.planet_views import Sandbox

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
PIXELS_PER_TILE = 700
TREES = 100
INPUTS = {
    "red, green, blue": (0, 3),
    "ten Sentinel-2 bands": (0, 10),
    "mean VV and VH": (10, 12),
    "Sentinel-1 and Sentinel-2": (0, 12),
}
"""Half-open ranges of features."""


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--tiles", type=int, default=132)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dates", type=int, default=40, help="Sentinel-1 scenes in the mean, at most")
    options = arguments.parse(parser, tiles=6, dates=1)
    arguments.need("sklearn", "pip install scikit-learn")
    from sklearn.ensemble import RandomForestClassifier

    sandbox = Sandbox.of(options.tiles, options.seed)
    train = _samples(sandbox, "expert", options.dates)
    test = _samples(sandbox, "consensus", options.dates)
    print(f"{len(train[1])} training pixels, {len(test[1])} test pixels", file=sys.stderr)
    classes, counts = np.unique(train[1], return_counts=True)
    found = {"commonest class": float(np.mean(test[1] == classes[counts.argmax()]))}
    for name, (first, last) in INPUTS.items():
        forest = RandomForestClassifier(TREES, min_samples_leaf=2, n_jobs=2, random_state=0)
        forest.fit(train[0][:, first:last], train[1])
        found[name] = float(np.mean(forest.predict(test[0][:, first:last]) == test[1]))
    print("| " + " | ".join(found) + " |")
    print("|---" * len(found) + "|")
    print("| " + " | ".join(f"{accuracy:.3f}" for accuracy in found.values()) + " |")
    gain = found["Sentinel-1 and Sentinel-2"] - found["ten Sentinel-2 bands"]
    print(f"\nSentinel-1 adds {100 * gain:.1f} points.")


def _samples(sandbox: Sandbox, annotator: Annotator, dates: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Features (n, 12) and class indices (n,) of pixels drawn from tiles that both sensors see."""
    features, classes = [], []
    for item in sandbox.tiles:
        radar = sandbox.radar_scenes(item.tile, dates)
        if annotator in item.annotators and item.scene is not None and radar:
            drawn = _pixels_of(sandbox, item, annotator, dates)
            features.append(drawn[0])
            classes.append(drawn[1])
    return np.concatenate(features), np.concatenate(classes)


def _pixels_of(
    sandbox: Sandbox, item: SandboxTile, annotator: Annotator, dates: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    tile, scene = item.tile, item.scene
    assert scene is not None
    index = DYNAMIC_WORLD.class_indices(annotate(sandbox.catalogue.planet, sandbox.catalogue, item, annotator))
    index[cloudy(sandbox.catalogue, scene, tile)] = IGNORE
    rows, cols = np.nonzero(index != IGNORE)
    drawn = np.random.default_rng(noise.key(tile.id) % 2**32).permutation(len(rows))[:PIXELS_PER_TILE]
    rows, cols = rows[drawn], cols[drawn]
    x, y = tile.transform[2] + 10 * (cols + 0.5), tile.transform[5] - 10 * (rows + 0.5)
    radar = sandbox.radar_scenes(tile, dates)
    pixels = [sandbox.at(scene, band, tile.crs, x, y)[0] for band in BANDS]
    pixels += [sandbox.mean_backscatter(band, radar, tile.crs, x, y) for band in ("VV", "VH")]
    return np.stack(pixels, axis=1).astype(np.float32), index[rows, cols]


if __name__ == "__main__":
    main()
