"""The data-set card: counts worked out by hand, no clock or address in it, and its Python runs."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dwplus.pipeline.build.card import READING, card, write_card
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import Manifest, ManifestRow
from dwplus.pipeline.raster.geotiff import read_bands, read_codes
from dwplus.pipeline.spec.bands import BANDS, decode
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.pipeline.spec.licences import LabelTerms
from dwplus.pipeline.spec.recipe import Recipe
from support.fixture_types import LayOut
from support.tiles import make_tile


def row(number: int, split: str = "train", *, lon: int = 9, biome: int = 4, discard: str = "") -> ManifestRow:
    """A tile on the central meridian of a UTM zone; lon 9 is eastern-hemisphere-1, 123 eastern-hemisphere-2."""
    crs = f"EPSG:{32600 + (lon + 183) // 6}"
    tile = make_tile(f"dw_{lon}.0_45.{number}-20190701", crs=crs, y=5000000.0 + 9000 * number, biome=biome)
    release: Any = {"test": "test", "inspect": "inspect"}.get(split, "train")
    return ManifestRow(tile, "expert", release, "labels/x.tif", "0", 0.9, split_strict=split, discard=discard)


def text(
    rows: Sequence[ManifestRow], events: Sequence[LedgerRow] = (), *, source: str = "earthengine", **recipe: Any
) -> str:
    ledger = {event.tile: event for event in events}
    return card(Manifest(tuple(rows)), ledger, source=source, recipe=Recipe(**recipe), version="1.2.3")


def done(*rows: ManifestRow, size: int = 0) -> list[LedgerRow]:
    return [LedgerRow(row.tile.id, "done", bytes=size) for row in rows]


def cells(card: str, first: str) -> list[str]:
    """Cells of the one table row that starts with ``first``."""
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {first} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tiles_are_counted_by_split_region_and_biome() -> None:
    # Given six tiles: four complete, one failed, one that overlaps a test tile although its shard is there.
    tiles = [
        *(row(n) for n in (0, 1)), row(2, "val", biome=14), row(3, "test", lon=123),
        row(4, "test"), row(5, discard="test_overlap"),
    ]  # fmt: skip
    failed = LedgerRow(tiles[4].tile.id, "failed", "no_answer")

    shown = text(tiles, [*done(*tiles[:4], tiles[5], size=1_500_000), failed])

    assert "Complete tiles: 4, 6.0 MB of pixels" in shown
    assert cells(shown, "train") == ["train", "2", "3"]
    assert cells(shown, "val") == ["val", "1", "1"]
    assert cells(shown, "test") == ["test", "1", "2"]
    assert cells(shown, "eastern-hemisphere-1") == ["eastern-hemisphere-1", "3", "5"]
    assert cells(shown, "eastern-hemisphere-2") == ["eastern-hemisphere-2", "1", "1"]
    assert cells(shown, "4 Temperate Broadleaf & Mixed Forests")[1:] == ["3", "5"]
    assert cells(shown, "14 Mangroves")[1:] == ["1", "1"]
    assert shown.count("| all ") == 3


def test_what_is_missing_is_counted_once_by_its_reason() -> None:
    # Given a complete tile, one without Sentinel-1, one not asked for, and a label that is not in the manifest.
    tiles = [row(0), row(1), row(2)]
    gone = [
        LedgerRow(tiles[1].tile.id, "discarded", "no_s1"),
        LedgerRow("dw_1.0_2.0-20190101", "discarded", "bad_label"),
    ]

    shown = text(tiles, [*done(tiles[0]), *gone])

    assert cells(shown, "no_s1")[1:] == [
        "1",
        "no Sentinel-1 scene (IW, VV and VH) within the window around the label's date",
    ]
    assert cells(shown, "bad_label")[1] == "1"
    assert cells(shown, "open")[1:] == ["1", "not requested yet"]
    assert "| no_s2 " not in shown
    assert "Nothing: every tile of the manifest is complete." in text(tiles, done(*tiles))


def test_large_numbers_have_thousands_separators() -> None:
    tiles = [replace(row(0), tile=replace(row(0).tile, id=f"dw_9.0_{n}.0-20190701")) for n in range(1_234)]

    shown = text(tiles, done(*tiles, size=4_000_000))

    assert "Complete tiles: 1,234, 4.9 GB of pixels" in shown
    assert cells(shown, "train") == ["train", "1,234", "1,234"]
    assert front_matter(shown)["size_categories"] == ["1K<n<10K"]


def front_matter(shown: str) -> dict[str, Any]:
    _, head, _ = shown.split("---\n", 2)
    content: dict[str, Any] = yaml.safe_load(head)
    return content


def test_the_front_matter_is_yaml_as_data_hubs_have_it() -> None:
    assert front_matter(text([row(0)], done(row(0)))) == {
        "pretty_name": "Dynamic World+",
        "license": "cc-by-4.0",
        "task_categories": ["image-segmentation"],
        "tags": ["remote-sensing", "land-cover", "sentinel-1", "sentinel-2", "dynamic-world"],
        "size_categories": ["n<1K"],
    }
    of_sandbox = front_matter(text([row(0)], source="SANDBOX"))
    assert (of_sandbox["pretty_name"], of_sandbox["tags"][-1]) == ("Dynamic World+ (SANDBOX)", "sandbox")
    assert (of_sandbox["license"], of_sandbox["license_name"]) == ("other", "synthetic-test-data")
    assert front_matter(text([row(0)], source="UNVERIFIED ::1"))["pretty_name"] == "Dynamic World+ (UNVERIFIED ::1)"


def test_a_banner_stands_over_everything_that_is_not_earth_engine() -> None:
    sandbox, unverified = text([row(0)], source="SANDBOX"), text([row(0)], source="UNVERIFIED ee.example.org")

    assert "> **SANDBOX**: synthetic pixels and labels; no number of it says anything about the Earth." in sandbox
    assert sandbox.index("> **SANDBOX**") < sandbox.index("## ")
    assert "> **UNVERIFIED ee.example.org**" in unverified
    assert "\n> " not in text([row(0)])


def test_synthetic_pixels_are_never_attributed_to_copernicus() -> None:
    tile = row(0)

    assert "contain no Copernicus data" in text([tile], done(tile), source="SANDBOX")
    assert "Contains modified Copernicus Sentinel data 2" not in text([tile], done(tile), source="SANDBOX")


def test_the_attribution_names_the_years_of_the_windows_of_complete_tiles() -> None:
    # 2019-07-01 less 180 days is 2019-01-02, and the day before 2019-12-28 is the last one.
    tile = row(0)
    later = replace(row(1), tile=replace(row(1).tile, date=tile.tile.date.replace(month=8)))

    assert "Copernicus Sentinel data 2019, processed" in text([tile, later], done(tile))
    assert "Copernicus Sentinel data 2019-2020, processed" in text([tile, later], done(tile, later))
    assert "Copernicus Sentinel data, processed" in text([tile, later])


def test_terms_and_both_releases_of_labels_are_named() -> None:
    shown = text([row(0)], done(row(0)))

    for address in (
        "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
        "https://earthengine.google.com/terms/",
        "https://doi.org/10.1594/PANGAEA.933475",
        "https://doi.org/10.5281/zenodo.4766508",
    ):
        assert address in shown


def test_labels_given_by_hand_are_said_to_be_so() -> None:
    shown = text([row(0, "inspect")], source="SANDBOX")

    assert "synthetic pixels; no number" in shown
    assert "User-supplied labels: 1;" in shown
    assert "dwplus build --labels FOLDER --source sandbox" in shown
    assert "--region" not in shown


def test_the_licence_is_that_of_the_labels_which_are_there() -> None:
    # Given one tile of each kind of label, over pixels of Earth Engine.
    released, supplied = row(0), row(1, "inspect")

    alone = text([supplied], done(supplied))
    both = text([released, supplied], done(released, supplied))

    assert (front_matter(alone)["license"], front_matter(alone)["license_name"]) == ("other", "user-supplied-labels")
    assert "CC BY 4.0" not in alone
    assert "User-supplied labels keep the licence of their makers." in alone
    assert "Contains modified Copernicus Sentinel data 2019" in alone
    assert front_matter(both)["license_name"] == "cc-by-4.0-and-user-supplied-labels"
    assert "Labels (1 tile) of Dynamic World: CC BY 4.0" in both
    assert "User-supplied labels (1 tile) keep" in both
    assert cells(both, "labels ") == ["labels", "1 of Dynamic World, 1 user-supplied"]


def test_own_labels_have_their_licence_and_citation_and_dynamic_world_is_not_credited() -> None:
    # Given a tile whose labels are somebody's, under terms that were named.
    tile = replace(row(0), release="own", labeler="own", added="a")
    terms = (LabelTerms("CC BY-SA 4.0", "Smith et al. 2023"),)

    shown = card(
        Manifest((tile,)),
        {event.tile: event for event in done(tile)},
        source="earthengine",
        recipe=Recipe(),
        version="1",
        terms=terms,
    )

    assert front_matter(shown)["license_name"] == "cc-by-sa-4.0"
    assert "Own labels of the user: labels CC BY-SA 4.0 (Smith et al. 2023)." in shown
    assert "- labels: Smith et al. 2023" in shown
    assert "933475" not in shown  # the training labels of Dynamic World
    assert "dynamic-world" not in front_matter(shown)["tags"]
    assert "dwplus labels add FILE --classes TABLE --data DIR" in shown
    assert "blocks of 2 degrees" not in shown


def test_real_labels_under_synthetic_pixels_keep_their_licence() -> None:
    tile = row(0)
    shown = card(
        Manifest((tile,)), {}, source="SANDBOX", recipe=Recipe(), version="1", released="dynamic-world"
    )  # fmt: skip

    assert "synthetic pixels and labels" not in shown
    assert "> **SANDBOX**: synthetic pixels; no number of it says anything about the Earth." in shown
    assert "Labels of Dynamic World: 1;" in shown
    assert front_matter(shown)["license"] == "cc-by-4.0"
    assert "Please cite:" in shown


def test_pixels_of_several_sources_are_counted_on_the_card() -> None:
    tiles = [row(0), row(1)]
    events = [replace(event, source=name) for event, name in zip(done(*tiles), ("SANDBOX", "earthengine"), strict=True)]

    shown = text(tiles, events)

    assert cells(shown, "pixels from") == ["pixels from", "SANDBOX (1), earthengine (1)"]
    assert "1 tile from the embedded local Earth Engine, a synthetic planet, 1 tile from Google's" in shown
    assert "Contains modified Copernicus Sentinel data 2019" in shown


def test_the_recipe_stands_there_in_words_and_as_a_command() -> None:
    plain = text([row(0)])
    other = text([row(0)], half_window_days=30, s1_mean="linear", s1_passes=("DESCENDING",), s1_max_scenes=12)

    assert "`COPERNICUS/S1_GRD`, IW mode, VV and VH, in the 360 days [date - 180 d, date + 180 d)" in plain
    assert "over all scenes of the ascending and descending passes" in plain
    assert "--source earthengine --project YOUR-PROJECT --s1-mean dB --s1-pass both\n" in plain
    assert "`COPERNICUS/S1_GRD_FLOAT`, IW mode, VV and VH, in the 60 days [date - 30 d, date + 30 d)" in other
    assert "over at most 12, spread evenly, of all scenes of the descending passes" in other
    assert "--s1-mean linear --s1-pass descending --s1-max-scenes 12\n" in other
    assert "No option sets the window of days" in other
    assert "Border noise" not in plain + other
    assert f"`{Recipe().hash}`" in plain
    assert Recipe().hash not in other


def test_every_band_and_class_has_its_line() -> None:
    shown = text([row(0)])

    assert cells(shown, "B8A ") == ["B8A", "narrow near infrared, 865 nm", "20", "reflectance", "0.0001", "0"]
    assert cells(shown, "VH ") == ["VH", BANDS["VH"].title, "10", "dB", "0.01", "-100"]
    assert cells(shown, "   1") == ["1", "0", "water", "#419bdf"]
    assert cells(shown, "   9") == ["9", "8", "snow_and_ice", "#b39fe1"]
    assert cells(shown, "  10") == ["10", "255 (ignored)", "cloud", ""]


def test_tables_line_up_as_plain_text() -> None:
    lines = text([row(0), row(1, "test", lon=123)]).splitlines()

    for before, after in pairwise(lines):
        if before.startswith("|") and after.startswith("|"):
            assert len(before) == len(after), after


def test_a_build_that_ends_the_same_writes_the_same_bytes_and_only_once(data_root: LayOut, tmp_path: Path) -> None:
    root = data_root(train=2, test=1)
    manifest, ledger = root.manifest(), root.ledger()

    path = write_card(root, manifest, ledger, source="SANDBOX", recipe=Recipe())
    first, node = path.read_bytes(), path.stat().st_ino
    # When the same tiles took other times, attempts and words.
    slower = {
        k: replace(v, time="2031-02-03T04:05:06", seconds=99.0, attempts=7, detail="x") for k, v in ledger.items()
    }
    write_card(root, manifest, slower, source="SANDBOX", recipe=Recipe())

    assert path == root.card_file
    assert (path.read_bytes(), path.stat().st_ino) == (first, node)
    assert not list(root.folder.glob(".*.part"))
    for word in (str(tmp_path), "2031", "localhost", "127.0.0.1"):
        assert word not in first.decode()


def test_the_python_of_the_card_runs_and_reads_what_we_read(data_root: LayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    root = data_root(train=1, test=1)
    shown = write_card(root, root.manifest(), root.ledger(), source="SANDBOX", recipe=Recipe()).read_text()
    block = shown.split("```python\n")[1].split("\n```")[0]
    monkeypatch.chdir(root.folder)

    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)

    wanted = min(root.manifest().rows, key=lambda row: root.shard(row.tile))
    stored = read_bands(root.shard(wanted.tile), ("B4", "VV"))
    red, vv_db = decode(stored, ("B4", "VV"))
    assert block == READING
    np.testing.assert_allclose(names["red"], red, rtol=1e-6)
    np.testing.assert_allclose(names["vv_db"], vv_db, rtol=1e-6)
    np.testing.assert_array_equal(names["classes"], DYNAMIC_WORLD.class_indices(read_codes(root.folder / wanted.label)))
    assert names["tile"]["split_strict"] == wanted.split_strict
