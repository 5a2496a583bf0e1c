"""What the numbers of the page come from: hardware, versions, seeds, hashes of runs and data; how to cite."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass

from ....pipeline.dataset.root import DataRoot
from ....pipeline.errors import DataError
from ....pipeline.spec.version import __version__
from ..runs import Run

NOT_RECORDED = "not recorded (a run of an earlier version)"

CITATIONS = (
    (
        "the paper, its network and its numbers",
        "Yu, H., Li, G., Liu, H., Zhu, S., Dong, W., Li, C. (2024). SpecSAR-Former: A Lightweight Transformer-based "
        "Network for Global LULC Mapping Using Integrated Sentinel-1 and Sentinel-2. arXiv 2410.03962.",
    ),
    (
        "labels and classes",
        "Brown, C. F. et al. (2022). Dynamic World, Near real-time global 10 m land use land cover mapping. "
        "Scientific Data 9, 251. doi 10.1038/s41597-022-01307-4.",
    ),
    (
        "the training tiles",
        "Tait, A. M. et al. (2021). Dynamic World training dataset for global land use and land cover categorization "
        "of satellite imagery. PANGAEA. doi 10.1594/PANGAEA.933475.",
    ),
    ("this software", f"The dwplus developers. dwplus {__version__} (CITATION.cff holds it for reference managers)."),
)


@dataclass(frozen=True)
class RunOrigin:
    """Where a run comes from, as words for a table.

    Attributes:
        hardware: device, how many processes and samples at a time, and precision, of each change on the way.
        versions: of the packages that computed.
        trained: epochs, seconds, seed, protocol.
        weights, shards, tiles: hashes of its weights, its training data, and the tiles it was scored on.
    """

    name: str
    hardware: str
    versions: str
    trained: str
    weights: str
    shards: str
    tiles: str


def run_origin(run: Run) -> RunOrigin:
    config, scores = run.config, run.scores
    last = config.computing[-1] if config.computing else None
    seconds = sum(row["seconds"] for row in run.rows)
    epochs = f"{len(run.rows)} epochs in {seconds:,.0f} s" if run.rows else "epochs cannot be read"
    trained = f"{epochs}, seed {config.train.get('seed')}, protocol {config.data.protocol}"
    if config.published is not None:
        trained = f"trained elsewhere: {config.published.origin}"
    elif config.members:
        trained = config.network_title
    versions = last.versions if last else {}
    return RunOrigin(
        run.name,
        "; ".join(dict.fromkeys(f"{one.device_name or 'device not named'}, {one}" for one in config.computing))
        or NOT_RECORDED,
        ", ".join(f"{name} {version}" for name, version in versions.items()) or NOT_RECORDED,
        trained,
        (scores.weights_sha256 or "")[:12] or NOT_RECORDED,
        config.data.shards_hash,
        scores.tiles_hash,
    )


def run_origins(runs: Sequence[Run]) -> list[RunOrigin]:
    return [run_origin(run) for run in runs]


def data_origin(root: DataRoot) -> list[tuple[str, str]]:
    """(what, hash or version) of the data set and of the machine that wrote the page."""
    found = [("manifest", root.manifest().hash)]
    try:
        recipe = root.recipe()
    except DataError:
        recipe = None
    if recipe is not None:
        found.append(("recipe", recipe.hash))
    found.append(("this page", f"dwplus {__version__}, Python {platform.python_version()}, {platform.machine()}"))
    return found
