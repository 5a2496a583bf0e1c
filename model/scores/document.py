"""What a network scored on a split: the record that ``scores.json`` holds.

Written by ``score.py``, read by everything that shows scores. Files of earlier versions lack what came later: the
counts of tiles, intervals, the mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...pipeline.errors import DataError
from ...pipeline.spec.version import __version__
from ..metrics import ConfusionMatrix, TileCounts
from ..runs import WEIGHTS
from ..training_range import OutsideShares
from .intervals import Intervals
from .perfect import PerfectEce


@dataclass(frozen=True)
class TilesFile:
    """The file with the counts of every tile.

    Attributes:
        name: of the file, beside the scores.
        sha256: of its content when these scores were written.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Mask:
    """Which pixels count.

    Attributes:
        kind: ``dataset``: where the label and all stored sensors are valid; ``own``: what the network itself reads.
        hash: changes with any pixel that counts or does not.
    """

    kind: str
    hash: str


@dataclass(frozen=True)
class Scores:
    """What a network scored on a split.

    Attributes:
        split, protocol, source: of the data set that was scored; ``source`` says where its pixels came from.
        model, weights: name in the registry, and the file of weights.
        matrix: of all tiles.
        regions, biomes: of the tiles of one region (by name) or biome (by number, as text).
        tiles: number of tiles.
        tiles_hash: of the shards and labels that were scored; scores of another hash are of another test set.
        majority: the class that the training split has most of, and the overall accuracy of always saying it.
        seconds: from the first tile to the last, reading included.
        fps: tiles a second through normaliser, network and choice of class, reading not included.
        accepted: what of the data differs from the training data, and was accepted.
        ece, brier: calibration error and Brier score; None where they were not counted.
        weights_sha256: of the file of weights; None where the run has no record of it.
        tiles_file, mask, intervals: None in scores of an earlier version.
        dropped: share of the pixels without each input that was left out on purpose, and the seed of the choice.
        outside: pixels of all tiles that are outside the training range; None where that is not known.
        variant: ``calibrated``, ``tta`` (averaged over eight symmetries), ``tta-calibrated``; empty: the network as it
            is.
        calibration: how it was calibrated, as text; empty where it was not.
        perfect_ece: the calibration error of a perfectly calibrated network on these tiles; None where not known.
    """

    split: str
    protocol: str
    source: str
    model: str
    weights: str
    matrix: ConfusionMatrix
    regions: Mapping[str, ConfusionMatrix]
    biomes: Mapping[str, ConfusionMatrix]
    tiles: int
    tiles_hash: str
    majority: tuple[str, float]
    seconds: float
    fps: float
    accepted: tuple[str, ...] = ()
    ece: float | None = None
    brier: float | None = None
    weights_sha256: str | None = None
    tiles_file: TilesFile | None = None
    mask: Mask | None = None
    intervals: Intervals | None = None
    dropped: Mapping[str, float] = field(default_factory=dict)
    outside: OutsideShares | None = None
    variant: str = ""
    calibration: str = ""
    perfect_ece: PerfectEce | None = None

    def values(self) -> dict[str, Any]:
        """Every metric as ``TileCounts.scores`` gives them, those of calibration among them."""
        return {**TileCounts(self.matrix).scores(), "ece": self.ece, "brier": self.brier}

    def to_dict(self) -> dict[str, Any]:
        """For JSON; scores are fractions, 0..1, None where there is no score."""
        later = {
            "weights_sha256": self.weights_sha256,
            "mask": None if self.mask is None else vars(self.mask),
            "intervals": None if self.intervals is None else self.intervals.to_dict(),
            "tile_counts": None if self.tiles_file is None else vars(self.tiles_file),
            "outside": None if self.outside is None else vars(self.outside),
            "variant": self.variant or None,
            "calibration": self.calibration or None,
            "perfect_ece": None if self.perfect_ece is None else vars(self.perfect_ece),
        }
        return {
            "dwplus": __version__,
            "source": self.source,
            "split": self.split,
            "protocol": self.protocol,
            "model": self.model,
            "weights": self.weights,
            "tiles": self.tiles,
            "tiles_hash": self.tiles_hash,
            **self.values(),
            "majority": {"class": self.majority[0], "oa": self.majority[1]},
            "seconds": self.seconds,
            "fps": self.fps,
            **({"accepted": list(self.accepted)} if self.accepted else {}),
            **({"dropped": dict(self.dropped)} if self.dropped else {}),
            **{key: value for key, value in later.items() if value is not None},
            "matrix": self.matrix.to_dict(),
            "regions": {name: _part(matrix) for name, matrix in self.regions.items()},
            "biomes": {number: _part(matrix) for number, matrix in self.biomes.items()},
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Scores:
        """What ``to_dict`` gave, here or in an earlier version.

        Raises:
            DataError: it is something else.
        """
        try:
            return cls(
                **{
                    key: mapping[key]
                    for key in ("split", "protocol", "source", "model", "weights", "tiles", "tiles_hash")
                },
                matrix=ConfusionMatrix.from_dict(mapping["matrix"]),
                regions={k: ConfusionMatrix.from_dict(v["matrix"]) for k, v in mapping["regions"].items()},
                biomes={k: ConfusionMatrix.from_dict(v["matrix"]) for k, v in mapping["biomes"].items()},
                majority=(mapping["majority"]["class"], mapping["majority"]["oa"]),
                seconds=mapping["seconds"],
                fps=mapping["fps"],
                accepted=tuple(mapping.get("accepted", ())),
                dropped=dict(mapping.get("dropped", {})),
                ece=mapping.get("ece"),
                brier=mapping.get("brier"),
                weights_sha256=mapping.get("weights_sha256"),
                tiles_file=TilesFile(**mapping["tile_counts"]) if "tile_counts" in mapping else None,
                mask=Mask(**mapping["mask"]) if "mask" in mapping else None,
                intervals=Intervals.from_dict(mapping["intervals"]) if "intervals" in mapping else None,
                outside=OutsideShares.from_dict(mapping["outside"]) if "outside" in mapping else None,
                variant=str(mapping.get("variant", "")),
                calibration=str(mapping.get("calibration", "")),
                perfect_ece=PerfectEce.from_dict(mapping["perfect_ece"]) if "perfect_ece" in mapping else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"these are no scores of dwplus ({error!r}); score the run again") from None


def _part(matrix: ConfusionMatrix) -> dict[str, Any]:
    scores = TileCounts(matrix).scores()
    # Calibration is counted for the whole split here; parts have theirs in the counts of tiles.
    return {key: value for key, value in scores.items() if key not in ("ece", "brier")} | {"matrix": matrix.to_dict()}


def scores_name(
    split: str,
    weights: str = WEIGHTS,
    *,
    other: str = "",
    mask: str = "dataset",
    drop: str = "",
    variant: str = "",
) -> str:
    """``scores.json`` for the last epoch on the test split; any other split, weights, data set or mask is in the name.

    Args:
        other: hash of the tiles of another data set than the run was trained on.
        drop: what was lost of the inputs, as ``missing.Shares`` is written.
        variant: as of ``Scores``.
    """
    parts = ["scores", *([] if split == "test" else [split]), *([] if weights == WEIGHTS else [Path(weights).stem])]
    parts += ["drop", drop] if drop else []
    parts += ["on", other] if other else []
    parts += [] if mask == "dataset" else [f"{mask}-mask"]
    parts += [variant] if variant else []
    return "-".join(parts) + ".json"


def tiles_name(scores: str) -> str:
    """Name of the file with the counts of tiles beside a file of scores: ``scores.tiles.parquet``."""
    return f"{Path(scores).stem}.tiles.parquet"


def calibrated_name(tiles: str) -> str:
    """Name of the scores of the calibrated network beside those whose counts of tiles are in a file of this name."""
    return f"{tiles.removesuffix('.tiles.parquet')}-calibrated.json"
