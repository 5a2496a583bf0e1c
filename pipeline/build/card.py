"""Card: ``README.md`` of a data root, what a user needs to know about the folder. Pure, but for ``write_card``.

Written at the end of each build, out of manifest, ledger and recipe. It holds no time, address or path (only an
unverified server's host): two builds with the same result write the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from ..dataset.added_pixels import ADDED_FILE, AddedPixels
from ..dataset.ledger import FAILURES_FILE, LEDGER_FILE, REASONS, LedgerRow
from ..dataset.makers import Makers, makers_of, released_maker_of, terms_of
from ..dataset.manifest import MANIFEST_FILE, SPLITS, Manifest, ManifestRow
from ..dataset.root import DataRoot
from ..files.atomic import write_atomically
from ..raster.geotiff import LABELS_FOLDER, SHARDS_FOLDER
from ..spec.bands import BANDS, PRESETS, composite_as_text
from ..spec.classes import CODE_UNMARKED, IGNORE, ClassTable
from ..spec.licences import CITATIONS, LabelMaker, LabelTerms
from ..spec.recipe import S1_COLLECTIONS, S2_COLLECTION, Recipe, edge_text
from ..spec.sources import Source
from ..spec.tiles import biome_names, locate, region_names
from ..spec.version import __version__
from ..spec.words import count_of

FILES: tuple[tuple[str, str], ...] = (
    (f"{SHARDS_FOLDER}/<EH or WH>/<biome>/<dw_id>.tif", "pixels of one tile, all bands, uint16; tags say their origin"),
    (f"{LABELS_FOLDER}/<labeler>/<EH or WH>/<biome>/<dw_id>.tif", "label of one tile, uint8, the released codes"),
    (MANIFEST_FILE, "every tile: grid, date, region, biome, labeler, splits (GeoParquet)"),
    (LEDGER_FILE, "the status of every tile: one JSON line per event; the last line of a tile counts"),
    (FAILURES_FILE, "every tile that is missing, with the reason"),
    ("recipe.json", "how pixels are requested, besides the tile"),
    (ADDED_FILE, "where pixels that a user added come from, in place of `recipe.json`"),
    ("findings.json, findings.csv", "what the validation found"),
    ("findings/index.html", "the same with pictures, once `dwplus validate` was run"),
    ("quarantine/", "shards that were put aside, each with a note that says why"),
    ("stats-strict.json, stats-paper.json", "statistics of the training tiles, by protocol"),
    ("groups-strict.json, groups-paper.json", "the same for each split, and each region and biome in it"),
    ("store.zarr", "shards and labels as one Zarr array, once `dwplus normalise --store` was run"),
)
"""What a user of a data root opens, and what it is."""

LIMITS: tuple[str, ...] = (
    "The paper counts 10 spectral bands and lists 11. Shards hold all 11; the preset `ms10` leaves B1 (60 m) out, "
    "because the paper's numbers of parameters and operations fit 10 alone.",
    "0 means no data, so a valid Sentinel-2 DN of 0 is stored as 1. A saturated DN of 65,535 is stored as 65,534.",
    "Sentinel-1 is rounded to 0.01 dB.",
    "Bands of 20 m and 60 m, and scenes on another grid, are resampled to the label's 10 m grid (bilinear).",
    "Labels are of one day each, 2017 to 2019 as released. They say nothing about land cover today.",
    "Released test tiles are 512 x 512 px; one pixel is cut off on each side, so that all tiles are 510 x 510 px.",
    "Region is derived from the longitude of a tile's centre; the released tiles do not follow the paper's limit at "
    "100 E exactly. The folders EH and WH are as released.",
)
"""What a user has to know before trusting a number."""

READING = """\
from pathlib import Path
import numpy as np, pandas as pd, rasterio

path = sorted(Path("shards").rglob("*.tif"))[0]
tile = pd.read_parquet("manifest.parquet").set_index("dw_id").loc[path.stem]  # date, biome, split_strict, ...
with rasterio.open(path) as shard, rasterio.open(tile["label"]) as label:
    scales, offsets = (np.reshape(values, (-1, 1, 1)) for values in (shard.scales, shard.offsets))
    bands = dict(zip(shard.descriptions, shard.read(masked=True) * scales + offsets))  # masked = no data
    codes = label.read(1)
red, vv_db = bands["B4"], bands["VV"]  # reflectance 0..1; dB
classes = np.where((codes >= 1) & (codes <= 9), codes - 1, 255)  # class index, 255 = ignored"""
"""Python that reads one tile; it is run in the data root."""

COPERNICUS_TERMS = "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
EARTH_ENGINE_TERMS = "https://earthengine.google.com/terms/"

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
_NO_NUMBERS = "no number of it says anything about the Earth"


def write_card(
    root: DataRoot, manifest: Manifest, ledger: Mapping[str, LedgerRow], *, source: str, recipe: Recipe
) -> Path:
    """Write ``README.md`` of a data root, unless it says the same already; its path. See ``card``."""
    path = root.card_file
    terms = terms_of(root, manifest.rows)
    text = card(
        manifest,
        ledger,
        source=source,
        recipe=recipe,
        version=__version__,
        released=released_maker_of(root, source),
        terms=terms,
        added=root.added_pixels(),
    )
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)
    return path


def card(
    manifest: Manifest,
    ledger: Mapping[str, LedgerRow],
    *,
    source: str,
    recipe: Recipe,
    version: str,
    released: LabelMaker | None = None,
    terms: tuple[LabelTerms, ...] = (),
    added: AddedPixels | None = None,
) -> str:
    """The data-set card of one data root: Markdown with YAML front matter.

    Args:
        ledger: last row of each tile, by tile id; tiles that are not in the manifest (labels that cannot be used) are
            counted among the missing ones.
        source: where the pixels came from: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.
        version: of dwplus.
        released: who made the labels that no user supplied; None = as the source tells.
        terms: of own labels.
        added: what is on record about pixels that a user added; None = they were requested by ``recipe``.
    """
    rows = manifest.rows
    # The file tells centres; outlines are not needed here.
    locate(row.tile for row in rows if "centre" not in row.tile.__dict__)
    states = {row.tile.id: _state(row, ledger.get(row.tile.id)) for row in rows}
    complete = [row for row in rows if states[row.tile.id] == "done"]
    states |= {tile: row.reason or row.state for tile, row in ledger.items() if tile not in states}
    counted = complete or rows
    makers = makers_of(counted, ledger, source=source, released=released, terms=terms) if rows else Makers({source: 0})
    shard_bytes = sum(ledger[row.tile.id].bytes for row in complete)
    sections = (
        _front_matter(len(complete), makers),
        f"# {_name(makers)}",
        _banner(makers),
        "Sentinel-2 surface reflectance and mean Sentinel-1 backscatter on land-cover label tiles, for semantic "
        f"segmentation. Complete tiles: {len(complete):,}, {_size(shard_bytes)} of pixels.",
        "## What is in this folder",
        _table(("file", "content"), [(f"`{name}`", content) for name, content in FILES]),
        "## Bands of a shard",
        "Physical value = stored x scale + offset; the files carry name, unit, scale and offset of each band. Stored 0 "
        "= no data.",
        _bands(),
        f"Presets by name: {', '.join(f'`{name}` ({len(bands)})' for name, bands in PRESETS.items())}.",
        "## Classes of a label",
        "Label files hold the released code; networks and scores use the class index.",
        _classes(manifest.classes),
        "## Tiles",
        *_counts(rows, complete),
        "## What is missing",
        _missing(states),
        "## How the pixels were made",
        _recipe(recipe) if added is None else _added(added),
        _table(
            ("what", "value"),
            (
                ("pixels from", makers.name if makers.pixels else source),
                ("labels", makers.counted_labels() or "none yet"),
                ("recipe", f"`{recipe.hash if added is None else added.hash}`"),
                ("manifest", f"`{manifest.hash}`"),
                ("dwplus", version),
            ),
        ),
        "## Known limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "## How to read it",
        "In this folder:",
        f"```python\n{READING}\n```",
        "## How to build it again",
        _rebuild(rows, source, recipe) if added is None else _REBUILD_ADDED,
        "## Licences, attribution, citation",
        _attribution(complete, makers, recipe) if added is None else _attribution_of(added, makers),
        "\n".join(f"- {what}: {text}" for what, text in (*_citations(makers), *_citations_of(added))),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _state(row: ManifestRow, last: LedgerRow | None) -> str:
    """``done``, a reason, or ``open``; the manifest takes precedence over the ledger."""
    if row.discard:
        return row.discard
    return "open" if last is None else last.reason or last.state


# --- the head ---------------------------------------------------------------------------------------------------------


def _name(makers: Makers) -> str:
    name = "Sentinel-1 and Sentinel-2 on own labels" if set(makers.labels) == {"own"} else "Dynamic World+"
    return f"{name} ({makers.mark})" if makers.mark else name


def _front_matter(tiles: int, makers: Makers) -> str:
    size = next((name for limit, name in _SIZES if tiles < limit), "100K<n<1M")
    tags = ["remote-sensing", "land-cover", "sentinel-1", "sentinel-2"]
    tags += [] if set(makers.labels) == {"own"} else ["dynamic-world"]
    tags += [source.mark.split(" ")[0].casefold() for source in makers.sources if source.mark]
    lines = (
        # A JSON string is a YAML string: a host with a colon stays one.
        f"pretty_name: {json.dumps(_name(makers))}",
        *_licence(makers),
        "task_categories:",
        "- image-segmentation",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "size_categories:",
        f"- {size}",
    )
    return "\n".join(("---", *lines, "---"))


_LICENCES = {
    "synthetic": "synthetic-test-data",
    "dynamic-world": "cc-by-4.0",
    "user-supplied": "user-supplied-labels",
}


def _licence(makers: Makers) -> tuple[str, ...]:
    """Lines of the front matter: a copy of the whole keeps the terms of its labels; none cover what is computed."""
    names = [_LICENCES[maker] for maker in makers.labels if maker != "own"]
    if "own" in makers.labels:
        names += [_as_name(one.licence) for one in makers.terms] or [_as_name("")]
    names = list(dict.fromkeys(names))
    if names in ([], ["cc-by-4.0"]):
        return ("license: cc-by-4.0",)
    return "license: other", f"license_name: {'-and-'.join(names)}"


def _as_name(licence: str) -> str:
    """``CC BY 4.0`` -> ``cc-by-4.0``, as hubs of data sets name licences."""
    return re.sub(r"[^a-z0-9.]+", "-", licence.casefold()).strip("-") or "not-named"


def _banner(makers: Makers) -> str:
    if not makers.mark:
        return ""
    if len(makers.pixels) > 1:
        return f"> **{makers.mark}**: {makers.about_pixels()} {makers.about_labels()}"
    if makers.sources[0].added:
        return f"> **{makers.mark}**: a user added the pixels from files. What they show is not verified."
    if not makers.synthetic:
        return (
            f"> **{makers.mark}**: the pixels come from a server that is neither Google's nor the sandbox. What they "
            "show is not verified."
        )
    if set(makers.labels) <= {"synthetic"}:
        return f"> **SANDBOX**: synthetic pixels and labels; {_NO_NUMBERS}."
    titles = {
        "synthetic": "Synthetic labels",
        "dynamic-world": "Labels of Dynamic World",
        "user-supplied": "User-supplied labels",
        "own": "Own labels of the user",
    }
    counted = "; ".join(f"{titles[maker]}: {number:,}" for maker, number in makers.labels.items())
    return (
        f"> **SANDBOX**: synthetic pixels; {_NO_NUMBERS}. {counted}; the pixels under them are synthetic all the same."
    )


def _by_hand(rows: Sequence[ManifestRow]) -> int:
    """Tiles with a user-supplied label."""
    return sum(row.release in ("inspect", "own") for row in rows)


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: frozenset[int] = frozenset()) -> str:
    """A Markdown table whose columns line up as plain text; columns of ``numbers`` are set flush right."""
    cells = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(3, *(len(row[n]) for row in cells)) for n in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = (c.rjust(w) if n in numbers else c.ljust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True)))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + ":" if n in numbers else "-" * w for n, w in enumerate(widths)]
    return "\n".join((line(cells[0]), line(rule), *(line(row) for row in cells[1:])))


def _bands() -> str:
    return _table(
        ("band", "what", "native m", "unit", "scale", "offset"),
        [(b.name, b.title, str(b.native_m), b.unit, f"{b.scale:g}", f"{b.offset:g}") for b in BANDS.values()],
        numbers=frozenset({2, 4, 5}),
    )


def _classes(classes: ClassTable) -> str:
    ignored = f"{IGNORE} (ignored)"
    return _table(
        ("code", "class index", "name", "colour"),
        [
            (str(CODE_UNMARKED), ignored, "unmarked", ""),
            *((str(c.code), str(c.index), c.name, f"#{c.colour}") for c in classes.classes),
            (str(classes.ignored_code), ignored, classes.code_names[-1], ""),
        ],
        numbers=frozenset({0}),
    )


def _counts(rows: Sequence[ManifestRow], complete: Sequence[ManifestRow]) -> tuple[str, ...]:
    biomes = {number: f"{number} {name}" for number, name in biome_names().items()}

    def biome(row: ManifestRow) -> str:
        return biomes.get(row.tile.biome, "not known")

    splits = _count(rows, complete, "split (strict)", lambda row: row.split_strict or "none", (*SPLITS, "none"))
    regions = _count(rows, complete, "region", lambda row: row.tile.region, region_names())
    by_biome = _count(rows, complete, "biome", biome, (*biomes.values(), "not known"))
    if rows and all(row.release == "own" for row in rows):
        protocols = "Splits are drawn by geographic blocks, or as the user named them; both protocols have the same."
    else:
        protocols = (
            "Protocol `strict` cuts `val` from the training release by blocks of 2 degrees. Protocol `paper` (column "
            "`split_paper`) trains on both and validates on the test tiles."
        )
    return (
        protocols,
        splits,
        regions,
        by_biome,
    )


def _count(
    rows: Sequence[ManifestRow],
    complete: Sequence[ManifestRow],
    title: str,
    key: Callable[[ManifestRow], str],
    names: Sequence[str],
) -> str:
    """Complete tiles of each group that has any tile, in the order of ``names``, and their sum."""
    every, done = [key(row) for row in rows], [key(row) for row in complete]
    lines = [(name, f"{done.count(name):,}", f"{every.count(name):,}") for name in names if name in set(every)]
    total = ("all", f"{len(done):,}", f"{len(every):,}")
    return _table((title, "complete", "in the manifest"), [*lines, total], numbers=frozenset({1, 2}))


def _missing(states: Mapping[str, str]) -> str:
    words = {**REASONS, "open": "not requested yet"}
    found = list(states.values())
    # A ledger of another version may hold a reason that this one does not know.
    names = [*words, *sorted(set(found) - set(words) - {"done"})]
    lines = [(name, f"{found.count(name):,}", words.get(name, "")) for name in names if name in set(found)]
    if not lines:
        return "Nothing: every tile of the manifest is complete."
    return _table(("reason", "tiles", "what it means"), lines, numbers=frozenset({1}))


# --- recipe, rebuilding, licences -------------------------------------------------------------------------------------


def _recipe(recipe: Recipe) -> str:
    days = recipe.half_window_days
    mean = {"dB": "of backscatter in dB", "linear": "of power, then 10 log10"}[recipe.s1_mean]
    most = "" if recipe.s1_max_scenes is None else f"at most {recipe.s1_max_scenes:,}, spread evenly, of "
    passes = " and ".join(name.casefold() for name in sorted(recipe.s1_passes))
    return "\n".join(
        (
            f"- Sentinel-2: the scene that the label was drawn on (`{S2_COLLECTION}`); the tags of each shard name it.",
            f"- Sentinel-1: `{S1_COLLECTIONS[recipe.s1_mean]}`, IW mode, VV and VH, in the {2 * days:,} days "
            f"[date - {days:,} d, date + {days:,} d) around the label's date.",
            f"- Mean {mean}, over {most}all scenes of the {passes} passes. `S1_N` counts each pixel's observations.",
            *([f"- Border noise: {recipe.edge_in_words} before the mean."] if recipe.edge_in_words else []),
            "- Grid: CRS, transform and shape of the label, verbatim.",
        )
    )


def _added(added: AddedPixels) -> str:
    """How added pixels were made, as far as their user says."""
    files = [one for addition in added.inputs for one in addition.files if one.tiles]
    lines = [
        f"- Pixels are of {count_of(len(files), 'file')} that a user added; `{ADDED_FILE}` lists them with their "
        "hashes, the tags of each shard name those that it is made of.",
        f"- Sentinel-2: surface reflectance of {composite_as_text(added.composite)}"
        f"{', as declared' if added.composite else ', of the day of the file'}; an added offset was taken away.",
    ]
    if not added.has_s1:
        lines.append(
            "- There is no Sentinel-1: VV, VH and S1_N hold no data. Networks with one input are trained on it."
        )
    lines += [f"- There is no {band}: files lack it. Networks that read it cannot be trained." for band in added.absent]
    lines += [f"- Sentinel-1, as declared: {radar}." for radar in added.radars]
    lines += [f"- Accepted: {one}." for addition in added.inputs for one in addition.accepted]
    return "\n".join((*lines, f"- Grid: that of the label; {added.resampling} resampling of each band by itself."))


_REBUILD_ADDED = """\
```
dwplus pixels add FILES --as s2 --data DIR
dwplus build --data DIR
```

`DIR` holds the labels. The record of added pixels says which files with which options."""


def _attribution_of(added: AddedPixels, makers: Makers) -> str:
    """What users of added pixels have to state."""
    years = sorted({one.date[:4] for addition in added.inputs for one in addition.files if one.tiles})
    between = f" {'-'.join(dict.fromkeys((years[0], years[-1])))}" if years else ""
    licence = f" Pixels: {'; '.join(added.licences)}." if added.licences else ""
    return (
        f"Contains modified Copernicus Sentinel data{between}; this notice stays with every copy "
        f"([terms]({COPERNICUS_TERMS})).{licence} {makers.licence_of_labels()} Please cite:"
    )


def _citations_of(added: AddedPixels | None) -> list[tuple[str, str]]:
    return [] if added is None else [("pixels", text) for text in added.citations]


def _rebuild(rows: Sequence[ManifestRow], source: str, recipe: Recipe) -> str:
    given = _by_hand(rows)
    known = Source.of(source)
    account = "" if known.synthetic else " --project YOUR-PROJECT" + ("" if known.verified else " --ee-url URL")
    options = f" --source {known.folder}{account}" + _recipe_options(recipe)
    own = sum(row.release == "own" for row in rows)
    if own:
        commands = ["dwplus labels add FILE --classes TABLE --data DIR", f"dwplus build --data DIR{options}"]
        return "```\n{}\n```\n\nThe inputs and their options stand in `own/inputs.json`.".format("\n".join(commands))
    commands = [f"dwplus build --region all{options}"] if given < len(rows) or not rows else []
    commands += [f"dwplus build --labels FOLDER{options}"] if given else []
    notes = ["`--data DIR` names the folder above this one. A build never requests a complete tile again."]
    if known.synthetic:
        notes.append("The synthetic planet is the one of `planet.json`: `--tiles` and `--seed`.")
    if recipe.half_window_days != Recipe().half_window_days:
        notes.append("No option sets the window of days: lay `recipe.json` of this folder into the new one first.")
    return "```\n{}\n```\n\n{}".format("\n".join(commands), " ".join(notes))


def _recipe_options(recipe: Recipe) -> str:
    passes = recipe.s1_passes[0].casefold() if len(recipe.s1_passes) == 1 else "both"
    most = "" if recipe.s1_max_scenes is None else f" --s1-max-scenes {recipe.s1_max_scenes}"
    edge = "" if recipe.s1_edge_m is None else f" --s1-edge {edge_text(recipe.s1_edge_m)}"
    return f" --s1-mean {recipe.s1_mean} --s1-pass {passes}{most}{edge}"


def _attribution(complete: Sequence[ManifestRow], makers: Makers, recipe: Recipe) -> str:
    if not makers.satellite:
        known = " ".join(
            (
                "The pixels are computed: they contain no Copernicus data.",
                'A data set of the real Earth has to say "Contains modified Copernicus Sentinel data" with the years '
                "of its scenes.",
                makers.licence_of_labels(),
            )
        )
        real = {"dynamic-world", "own"} & set(makers.labels)
        return f"{known} {'Please cite:' if real else 'The works that this one imitates:'}"
    unsure = (
        "" if all(source.verified for source in makers.sources) else " (as far as the server's pixels are what it says)"
    )
    return (
        f"Contains modified Copernicus Sentinel data{_years(complete, recipe)}{unsure}, processed by Earth Engine; "
        f"this notice stays with every copy ([terms]({COPERNICUS_TERMS})). Use of Earth Engine is subject to "
        f"[its own terms]({EARTH_ENGINE_TERMS}). {makers.licence_of_labels()} Please cite:"
    )


def _citations(makers: Makers) -> list[tuple[str, str]]:
    """What has to be cited; the releases of labels only where they are used, or imitated."""
    cited = [(what, text) for what, text in CITATIONS.items() if what != "pixels"]
    if set(makers.labels) <= {"user-supplied", "own"} and makers.labels:
        cited = [(what, text) for what, text in cited if "labels" not in what]
    if set(makers.labels) == {"own"}:
        cited = [(what, text) for what, text in cited if what != "Dynamic World"]
    return [("labels", one.citation) for one in makers.terms if one.citation] + cited


def _years(complete: Sequence[ManifestRow], recipe: Recipe) -> str:
    """Years that scenes may be of: the Sentinel-1 windows of all complete tiles, which hold the labels' days."""
    if not complete:
        return ""
    windows = [recipe.window(row.tile.date) for row in complete]
    first = min(start for start, _ in windows).year
    last = max(end - timedelta(days=1) for _, end in windows).year
    return f" {first}" if first == last else f" {first}-{last}"
