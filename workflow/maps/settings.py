"""Settings of a map: which of them fit a run, what makes two maps the same, and what its tags say."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from ...model.calibration import Calibration
from ...model.maps.windows import LAYOUT, OVERLAP_PX, WINDOW_PX, Axis, axis
from ...model.run_config import DataCard, RunConfig
from ...pipeline.errors import UsageError
from ...pipeline.spec.bands import Composite
from ...pipeline.spec.radar import Radar, radar_differences
from ...pipeline.spec.sources import Source
from ...pipeline.spec.version import __version__
from .window_rows import Mapped

FIXED_WINDOW_NETWORKS = ("ftransunet",)
"""Networks that take images of one size alone."""


@dataclass(frozen=True)
class MapOptions:
    """How a map is made.

    Attributes:
        window: pixels of a window, a multiple of 32.
        overlap: pixels that neighbouring windows share.
        batch: windows at a time.
        tta: average over the eight symmetries of each window.
        confidence: also write the probability of the class, in per cent, and bands outside the training range.
        probabilities: also write the probability of each class.
        page: also write the page of the map.
        composite: what of several scenes is classified; None: single scenes.
    """

    window: int = WINDOW_PX
    overlap: int = OVERLAP_PX
    batch: int = 1
    tta: bool = False
    confidence: bool = False
    probabilities: bool = False
    page: bool = True
    composite: Composite | None = None


def check_fits(run: RunConfig, radar: Radar | None, *, force: bool = False, accept_s1: bool = False) -> None:
    """Refuse an image that the run's network was not made for.

    Args:
        radar: how the image's Sentinel-1 was made; None where the network reads none.
        force: map real pixels with a network that was trained on synthetic ones.
        accept_s1: map with Sentinel-1 that was made in another way.

    Raises:
        UsageError: they do not fit.
    """
    if Source.of(run.data.source).synthetic and not force:
        raise UsageError(
            "the network was trained on SANDBOX pixels, which are synthetic: its map of real ones means nothing; train "
            "on real pixels, or say --force to see one"
        )
    differences = radar_differences(run.data.radars, () if radar is None else (radar,))
    if differences and not accept_s1:
        raise UsageError(
            f"the network was trained on another Sentinel-1: the image has {differences[0]}; give it one that was made "
            "like it, or accept the difference (--accept s1)"
        )


def check_composite(trained: DataCard, given: Composite | None, *, accept_s2: bool = False) -> None:
    """Refuse composites for a network that learned single scenes, the reverse, and composites of another kind.

    Args:
        given: what is mapped; None for single scenes.
        accept_s2: map it all the same.

    Raises:
        UsageError: it is not what the network was trained on.
    """
    if not (difference := trained.composite_difference(given)) or accept_s2:
        return
    if trained.composite is None:
        raise UsageError(
            f"the network would read {difference}, and was trained on no such spectra: leave --composite out (--year "
            "averages the classes of single scenes), or accept the difference (--accept s2)"
        )
    raise UsageError(
        f"the network would read {difference}: say --composite {trained.composite} (of an area with --year), or accept "
        "the difference (--accept s2)"
    )


def check_name(path: Path) -> None:
    """Refuse a map that is called something else than a GeoTIFF.

    Raises:
        UsageError: it is.
    """
    if path.suffix.casefold() not in (".tif", ".tiff"):
        raise UsageError(f"-o {path}: a map is a GeoTIFF; name it {path.with_suffix('.tif').name}")


def identity_of(run_hash: str, image: Mapped, options: MapOptions, calibration: Calibration | None) -> str:
    """Changes with anything that changes classes."""
    # Confidence is always computed: asking for it later does not begin anew. So is a batch of another size.
    decides: tuple[object, ...] = (run_hash, image.identity, LAYOUT, options.window, options.overlap, options.tta)
    if calibration is not None:
        decides = (*decides, calibration.digest)
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:16]


def axes_of(run: RunConfig, image: Mapped, options: MapOptions) -> tuple[Axis, Axis]:
    """Windows along rows and columns, which lie on the ground as those of any other map with these options do.

    Raises:
        UsageError: their size or overlap cannot be.
    """
    fixed = run.model in FIXED_WINDOW_NETWORKS
    rows, columns = (
        axis(side, size=options.window, overlap=options.overlap, fixed=fixed, origin=origin)
        for side, origin in zip(image.shape, image_origin(image), strict=True)
    )
    return rows, columns


def image_origin(image: Mapped) -> tuple[int, int]:
    """Row and column, from the origin of the CRS on and southwards, of the first pixel of an image."""
    a, _, left, _, e, top = image.map_grid.transform
    # Grids may lie half a pixel beside the multiples of their pixels: all of them are rounded the same way.
    row, column = (math.floor(place + 0.25) for place in (top / e, left / a))
    return row - image.map_origin[0], column - image.map_origin[1]


def tags_for(
    run: RunConfig,
    run_hash: str,
    image: Mapped,
    radar: Radar | None,
    options: MapOptions,
    calibration: Calibration | None,
    identity: str,
) -> dict[str, str]:
    """Tags of all rasters of a map."""
    synthetic = Source.of(run.data.source).synthetic
    bands = " ".join((*run.data.primary, *run.data.auxiliary))
    return {
        "DWPLUS": __version__,
        "MODEL": run.model,
        "TRAINED_ON": run.data.source,
        "IDENTITY": identity,
        "RUN": run_hash[:16],
        "RECIPE": f"{_pictures(image, options)}{'' if radar is None else f'; Sentinel-1 {radar}'}; bands {bands}",
        "SETTINGS": (
            f"window {options.window}, overlap {options.overlap}, {LAYOUT}{', tta' * options.tta}{_named(calibration)}"
        ),
        "CONFIDENCE": confidence_as_text(calibration),
        **({"SANDBOX": "the network was trained on synthetic pixels"} if synthetic else {}),
        **image.tags,
    }


def _pictures(image: Mapped, options: MapOptions) -> str:
    if options.composite:
        return f"a {options.composite} of Sentinel-2 images"
    return "one Sentinel-2 image" if image.pictures == 1 else "Sentinel-2 images of a year"


def _named(calibration: Calibration | None) -> str:
    """Maps with unlike calibrations are of unlike settings: biases decide classes."""
    return "" if calibration is None else f", calibration {hashlib.sha256(calibration.digest.encode()).hexdigest()[:8]}"


def confidence_as_text(calibration: Calibration | None) -> str:
    """Whether confidence is calibrated, and how."""
    return "softmax, not calibrated" if calibration is None else f"calibrated: {calibration.sentence()}"
