"""FILE_RULES: the table of all rules about one file, and ``judge``, which applies them.

Rules are pure: a ``FileView`` goes in, a message or nothing comes out (``form_rules``, ``pixel_rules``). ``validate``
applies them to a data root, ``single_files`` to files that dwplus did not write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..dataset.findings import Finding, Severity
from . import form_rules as form
from . import pixel_rules as pixels
from .file_view import KINDS, FileView, Kind

Stage = Literal["form", "pixels"]


@dataclass(frozen=True)
class Rule:
    """One check of one file.

    Attributes:
        name: what findings and waivers call it.
        kinds: what it is applied to.
        stage: ``pixels`` are not applied where the form has an error: values of the wrong band or unit say nothing.
        check: a message where the rule is broken, None where it holds.
        meaning: what holds where it is kept.
        remedy: what to do where it is broken.
    """

    name: str
    severity: Severity
    kinds: tuple[Kind, ...]
    stage: Stage
    check: Callable[[FileView], str | None]
    meaning: str
    remedy: str


_IMAGES: tuple[Kind, ...] = ("shard", "s2", "s1")
_LABELS: tuple[Kind, ...] = ("shard", "label")
_S2: tuple[Kind, ...] = ("shard", "s2")
_S1: tuple[Kind, ...] = ("shard", "s1")
_SHARD: tuple[Kind, ...] = ("shard",)
_OTHERS: tuple[Kind, ...] = ("s2", "s1", "label")

# fmt: off
FILE_RULES: tuple[Rule, ...] = (
    # name, severity, kinds, stage, check, meaning, remedy
    Rule("readable", "error", KINDS, "form", form.readable,
         "The file opens, and every pixel can be read to its last byte.",
         "get it again; a shard: run 'dwplus build', which requests it again"),
    Rule("file-size", "error", KINDS, "form", form.file_size,
         "The file is a tile of some megabytes; what needs more than 1 GB of memory is not read.",
         "cut it to the grid of its label first ('gdalwarp -te ... -tr 10 10')"),
    Rule("label-readable", "error", _SHARD, "form", form.label_readable,
         "The label beside a shard can be read to its last byte.",
         "remove that label, then run 'dwplus labels index'"),
    Rule("driver", "error", KINDS, "form", form.driver,
         "It is a GeoTIFF by its bytes, not by its name.",
         "convert it with 'gdal_translate -of GTiff'"),
    Rule("hash", "error", _SHARD, "form", form.ledger_hash,
         "A shard's bytes are those that the ledger recorded when it was written.",
         "run 'dwplus build', which requests it again"),
    Rule("label-hash", "error", _SHARD, "form", form.label_hash,
         "The label beside a shard is the file that was written from the released one, byte for byte.",
         "run 'dwplus labels index', which writes it again; own changes: give them with --labels"),
    Rule("label-dtype", "error", _SHARD, "form", form.label_dtype,
         "The label beside a shard holds codes as uint8.",
         "remove that label, then run 'dwplus labels index'"),
    Rule("crs", "error", KINDS, "form", form.crs,
         "The CRS is UTM on WGS 84 (EPSG:326zz or 327zz).",
         "reproject it to the grid of its label (raw radar: correct its terrain first)"),
    Rule("utm-zone", "error", KINDS, "form", form.zone,
         "The UTM zone fits the place: the centre lies in its zone, within half a degree of where a tile's name says.",
         "the CRS or the name is of another tile: look where it came from"),
    Rule("resolution", "error", KINDS, "form", form.resolution,
         "Pixels are 10 x 10 m.",
         "resample it to the 10 m grid of its label, by a method that you record"),
    Rule("north-up", "error", KINDS, "form", form.north_up,
         "The first row is the northernmost, columns run east, nothing is rotated.",
         "warp it to the grid of its label"),
    Rule("size", "error", _LABELS, "form", form.size,
         "A tile has 510 x 510 px (a label of the test release 512 x 512) where no other grid is demanded.",
         "use the tile as released, or name the grid that it has to lie on with --like"),
    Rule("grid", "error", KINDS, "form", form.grid,
         "CRS, transform and shape are those of its tile, or of the reference (--like), to a millionth of a metre.",
         "request it on the reference's CRS, transform and shape; do not shift it afterwards"),
    Rule("label-grid", "error", _SHARD, "form", form.label_grid,
         "Label and pixels of a tile lie on one grid.",
         "run 'dwplus labels index' and 'dwplus build'"),
    Rule("bands", "error", KINDS, "form", form.bands,
         "All bands are there once, by name: a shard's 14 in their order; the 11 of Sentinel-2; VV and VH; one label.",
         "stack what is missing; take one date; name the bands"),
    Rule("band-names", "warning", ("s2", "s1"), "form", form.band_names,
         "The file itself says which band is which, not their order alone.",
         "check the order, then name the bands"),
    Rule("dtype", "error", KINDS, "form", form.dtype,
         "Shards are uint16, Sentinel-2 DN are integers, Sentinel-1 dB are floats, labels are uint8.",
         "Sentinel-2: write DN (reflectance x 10,000) as uint16; --as says what a file is judged as"),
    Rule("encoding", "error", KINDS, "form", form.encoding,
         "A shard's scale, offset and nodata (0) are those of the band table; other files declare no offset.",
         "a shard: run 'dwplus build' again; others: apply scale and offset, then write the file anew"),
    Rule("lossless", "error", ("label",), "form", form.lossless,
         "A label is not compressed by a method that changes its codes (JPEG, WEBP, LERC with an error).",
         "write it again from its source with COMPRESS=DEFLATE"),
    Rule("nodata", "warning", _OTHERS, "form", form.nodata,
         "No data is declared as usual: 0 for Sentinel-2, NaN for Sentinel-1, nothing for labels.",
         "mask that value before any mean"),
    Rule("provenance", "error", _SHARD, "form", form.provenance,
         "The tags tell source, recipe, scenes, window and licence; the tile's own day is in the middle of the window.",
         "remove the shard and run 'dwplus build'"),
    Rule("s2-baseline", "error", _SHARD, "form", form.s2_baseline,
         "No scene of processing baseline 04.00 or later comes from a collection that keeps its +1000.",
         "take COPERNICUS/S2_SR_HARMONIZED"),
    Rule("model-label", "error", ("label",), "form", pixels.model_label,
         "A label is what people drew (codes 1..9), not a model's answer (classes 0..8).",
         "take the band 'lulc' of the test release, or a tile of the training release"),
    Rule("empty-band", "error", _IMAGES, "form", pixels.empty_band,
         "Every band has a valid pixel.",
         "the scene does not cover the place: take another, or leave the tile out"),
    Rule("codes", "error", _LABELS, "pixels", pixels.codes,
         "A label holds the codes of its class table and nothing else (released ones: 0..10).",
         "another class map? translate its codes"),
    Rule("unmarked", "warning", _LABELS, "pixels", pixels.unmarked,
         "At least 30 % of a label is marked (released tiles go down to 11 %).",
         "nothing; little is learned from this tile"),
    Rule("fill", "error", ("s2", "s1"), "pixels", pixels.fill,
         "No value stands for no data without being declared: none that ground cannot have, and no -99, -999, 0 dB.",
         "set the nodata tag to that value, or mask it"),
    Rule("stuck-band", "error", _IMAGES, "pixels", pixels.stuck_band,
         "No band holds a single value, but for clamped bands of water.",
         "get it again; something was written instead of pixels"),
    Rule("clamped-band", "warning", _S2, "pixels", pixels.clamped_band,
         "No band is clamped to the smallest value everywhere, as infrared is over clear water.",
         "nothing, if this is open water"),
    Rule("twin-bands", "warning", _IMAGES, "pixels", pixels.twin_bands,
         "No two bands are the same pixel by pixel.",
         "stack it again; one band was written twice"),
    Rule("s2-gaps", "warning", _S2, "pixels", pixels.s2_gaps,
         "At most 1 % of a Sentinel-2 band has no data.",
         "nothing, if the scene ends there; training ignores those pixels"),
    Rule("s2-range", "error", _S2, "pixels", pixels.s2_range,
         "Values are DN with a scale of 1e-4: medians up to 20,000, some values from 256 on, but for clear water.",
         "write DN = reflectance x 10,000"),
    Rule("s2-dark", "warning", _S2, "pixels", pixels.s2_dark,
         "Some DN are 256 or more; clear, deep water is darker.",
         "nothing, if this is open water"),
    Rule("s2-level", "error", ("s2",), "pixels", pixels.s2_level,
         "Reflectance is that of the ground (L2A): the darkest pixels do not rise from red to violet as air does.",
         "take the L2A product of the same scene, or run Sen2Cor"),
    Rule("s2-negative", "error", ("s2",), "pixels", pixels.s2_negative,
         "Less than 5 % of a band is below 0.",
         "do not subtract 1000 from baselines before 04.00"),
    Rule("s2-bright", "warning", _S2, "pixels", pixels.s2_bright,
         "Less than 1 % of a band is saturated (reflectance above 2).",
         "look at the picture: glint, cloud, or a defect"),
    Rule("s2-offset", "warning", _S2, "pixels", pixels.s2_offset,
         "The +1000 of baseline 04.00 is gone: the darkest pixels of all bands do not lie just above 1000 at once.",
         "subtract 1000 if its baseline is 04.00 or later; do not mix it with scenes that have no offset"),
    Rule("s1-gaps", "warning", _S1, "pixels", pixels.s1_gaps,
         "At most 1 % of VV or VH has no data.",
         "nothing, if the swath ends there"),
    Rule("s1-linear", "error", _S1, "pixels", pixels.s1_linear,
         "Backscatter is in dB (negative nearly everywhere), not power or amplitude.",
         "take 10 log10 of calibrated power, 20 log10 of amplitude"),
    Rule("s1-range", "error", _S1, "pixels", pixels.s1_range,
         "The medians of VV and VH lie within -45..10 dB.",
         "check calibration and unit"),
    Rule("s1-order", "error", _S1, "pixels", pixels.s1_order,
         "VV is stronger than VH, but for noise over calm water.",
         "swap the two bands, or their names"),
    Rule("s1-noise", "warning", _S1, "pixels", pixels.s1_noise,
         "VV is stronger than VH also where both lie below -20 dB.",
         "nothing, if this is calm water; otherwise check the order of the bands"),
    Rule("s1-border", "warning", _S1, "pixels", pixels.s1_border,
         "At most 1 % of VV or VH lies below -45 dB, where no ground is.",
         "mask the edges of scenes before March 2018 ('dwplus build --s1-edge 2km'), or take other scenes"),
    Rule("s1-early", "warning", _SHARD, "pixels", pixels.s1_early,
         "No Sentinel-1 scene from before March 2018 is in the mean with its edges, where there may be noise.",
         "build all tiles with --s1-edge 2km, which masks those edges; or nothing, as the paper"),
    Rule("s1-count", "error", _SHARD, "pixels", pixels.s1_count,
         "No pixel counts more observations than scenes entered, or than its window of 360 days can hold.",
         "run 'dwplus build' again; the count band is not what it says"),
    Rule("s1-pairing", "error", _SHARD, "pixels", pixels.s1_pairing,
         "VV and VH have a value where S1_N counts observations, and nowhere else.",
         "run 'dwplus build' again; gaps were filled with something"),
)
# fmt: on
"""All rules about a file, in the order in which findings are listed."""

BY_NAME: dict[str, Rule] = {rule.name: rule for rule in FILE_RULES}


def judge(view: FileView) -> list[Finding]:
    """Findings of one file, in the order of ``FILE_RULES``; where its form has an error its pixels are not judged."""
    found = _broken(view, "form")
    if view.values is None or any(finding.severity == "error" for finding in found):
        return found
    return found + _broken(view, "pixels")


def _broken(view: FileView, stage: Stage) -> list[Finding]:
    asked = (rule for rule in FILE_RULES if rule.stage == stage and view.kind in rule.kinds)
    results = ((rule, rule.check(view)) for rule in asked)
    return [Finding(view.name, rule.name, rule.severity, message) for rule, message in results if message]
