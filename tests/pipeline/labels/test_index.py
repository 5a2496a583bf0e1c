"""Label tiles: found by place and name, real ones read as released, anything else refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.labels import index
from dwplus.pipeline.raster import label_raster
from dwplus.pipeline.spec.tiles import hemisphere_of
from support.paths import REAL_DATA

REAL = REAL_DATA
needs_real_tiles = pytest.mark.skipif(not REAL.is_dir(), reason="real label tiles are not here (../shared/realdata)")


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


GHANA = "dw_-2.7415152153_5.6549699454-20181226"
BRITAIN = "dw_-0.5169602165_51.4043077942-20170409"  # a test tile, biome 4


def test_the_index_keys_tiles_by_labeler_and_name(tmp_path: Path) -> None:
    _touch(
        tmp_path,
        f"pangaea/Experts_tiles/Experts/WH/1/{GHANA}.tif",
        f"pangaea/Non_expert_tiles/Non_expert/WorkForce/WH/1/{GHANA}.tif",
        "zenodo/dw_test/label_dw_-0p5169602165_51p4043077942-20170409.tif",
        "zenodo/dw_test/probs_dw_-0p5169602165_51p4043077942-20170409.tif",
        f"somewhere/{GHANA}.tif",
        f"somewhere/else/{GHANA}.tif",
        f"somewhere/{GHANA}.s2_l2a.tif",
        "somewhere/dw_-2.7_5.6-20181399.TIF",
    )

    survey = index.survey(tmp_path)

    assert [(t.labeler, t.tile_id, t.hemisphere, t.biome, t.split, t.band) for t in survey.labels] == [
        ("consensus", BRITAIN, "EH", 4, "test", "lulc"),
        ("expert", GHANA, "WH", 1, "train", None),
        ("non_expert", GHANA, "WH", 1, "train", None),
        ("unknown", GHANA, "EH", 0, "inspect", None),
    ]
    assert index.index(tmp_path) == list(survey.labels)
    reasons = {i.path.name: i.reason for i in survey.ignored}
    assert "probabilities" in reasons["probs_dw_-0p5169602165_51p4043077942-20170409.tif"]
    assert "not the name of a label tile" in reasons[f"{GHANA}.s2_l2a.tif"]
    assert "holds no date" in reasons["dw_-2.7_5.6-20181399.TIF"]
    assert "same tile of the same labeler as" in reasons[f"{GHANA}.tif"]


def test_the_biome_may_come_from_the_metadata(tmp_path: Path) -> None:
    _touch(tmp_path, f"Experts/{GHANA}.tif")

    (tile,) = index.index(tmp_path, metadata={("expert", GHANA): {"biome": "14"}})

    assert tile.biome == 14


@pytest.mark.parametrize(("lon", "folder"), [(-162.7, "WH"), (-20.1, "WH"), (-20.0, "EH"), (-2.7, "EH"), (178.0, "EH")])
def test_the_line_between_the_hemispheres_is_20_west(lon: float, folder: str) -> None:
    assert hemisphere_of(lon) == folder


def test_tiles_given_by_hand_are_only_inspected(tmp_path: Path) -> None:
    _touch(tmp_path, f"Experts/EH/3/{GHANA}.tif")

    (tile,) = index.from_folder(tmp_path).labels

    assert (tile.split, tile.labeler, tile.biome) == ("inspect", "expert", 3)


def test_a_folder_without_tiles_is_explained(tmp_path: Path) -> None:
    _touch(tmp_path, "ortho.tif")

    with pytest.raises(UsageError, match="no such folder"):
        index.from_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no Dynamic World label tile.*1 other TIFF files; ortho\.tif: not the name"):
        index.from_folder(tmp_path)


def test_every_test_tile_gets_its_biome_from_the_list(tmp_path: Path) -> None:
    from dwplus.manifests import load_csv

    _touch(tmp_path, *(f"label_{row['dw_id'].replace('.', 'p')}.tif" for row in load_csv("test_409")))

    tiles = index.index(tmp_path)

    assert len(tiles) == 409
    assert {t.biome for t in tiles} == set(range(1, 15))
    assert sum(t.hemisphere == "WH" for t in tiles) == 140


# Label rasters -------------------------------------------------------------------------------------------------------

REAL_COUNTS = {
    "dw_-2.7415152153_5.6549699454-20181226": ("EPSG:32630", 526080, 627620, {0: 2712, 2: 249474, 7: 7914}),
    "dw_-3.4095852505_5.5380582684-20181226": (
        "EPSG:32630",
        452090,
        614700,
        {0: 232050, 2: 26395, 3: 408, 6: 661, 7: 586},
    ),
    "dw_111.8412562864_-8.1289167721-20190713": (
        "EPSG:32749",
        590130,
        9103900,
        {0: 31318, 2: 12318, 5: 130920, 7: 84541, 10: 1003},
    ),
}


@needs_real_tiles
def test_real_tiles_are_read_as_released() -> None:
    tiles = index.from_folder(REAL / "dynamic_world_tiles").labels

    assert {t.tile_id for t in tiles} == set(REAL_COUNTS)
    for tile in tiles:
        raster = label_raster.read_label(tile.path)
        crs, x, y, counts = REAL_COUNTS[tile.tile_id]
        found, number = np.unique(raster.codes, return_counts=True)
        assert dict(zip(found.tolist(), number.tolist(), strict=True)) == counts
        assert (raster.crs, raster.transform) == (crs, (10, 0, x, 0, -10, y))
        assert (raster.codes.dtype, raster.shape) == (np.uint8, (510, 510))
        assert raster.sha256 == hashlib.sha256(tile.path.read_bytes()).hexdigest()


@needs_real_tiles
def test_a_truncated_real_tile_is_refused(tmp_path: Path) -> None:
    whole = (REAL / "dynamic_world_tiles" / "dw_111.8412562864_-8.1289167721-20190713.tif").read_bytes()
    cut = tmp_path / "cut.tif"

    for size in (len(whole) - 5000, len(whole) // 2, 100, 8):
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read as a GeoTIFF"):
            label_raster.read_label(cut)


@needs_real_tiles
def test_no_odd_file_passes_for_a_label() -> None:
    odd = [*sorted((REAL / "odd_files").glob("*.tif")), *sorted((REAL / "dynamic_world_tiles").glob("*.s2_l2a.tif"))]

    for path in odd:
        with pytest.raises(DataError, match=path.name):
            label_raster.read_label(path)


def _write(path: Path, *bands: np.ndarray, names: tuple[str, ...] = (), **changes: object) -> Path:
    height, width = bands[0].shape
    profile = {"crs": "EPSG:32630", "transform": Affine(10, 0, 526080, 0, -10, 627620), "dtype": bands[0].dtype}
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=height, width=width, **{**profile, **changes}
    ) as raster:
        for number, band in enumerate(bands, start=1):
            raster.write(band, number)
            if names:
                raster.set_band_description(number, names[number - 1])
    return path


def test_a_test_tile_is_read_by_band_name_and_loses_one_pixel_on_each_side(tmp_path: Path) -> None:
    consensus = np.random.default_rng(0).integers(0, 11, (512, 512), dtype=np.uint8)
    model = np.full((512, 512), 3, np.uint8)
    path = _write(tmp_path / "label_dw.tif", model, consensus, names=("label", "lulc"))

    raster = label_raster.read_label(path)

    np.testing.assert_array_equal(raster.codes, consensus[1:511, 1:511])
    assert raster.transform == (10, 0, 526090, 0, -10, 627610)


def test_whole_numbers_stored_as_floats_are_codes(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tif", np.full((510, 510), 10, np.float32))

    assert label_raster.read_label(path).codes.dtype == np.uint8


CODES = np.ones((510, 510), np.uint8)


@pytest.mark.parametrize(
    ("bands", "changes", "message"),
    [
        ((np.ones((500, 510), np.uint8),), {}, r"has 510 x 500 px; a label tile has 510 x 510"),
        ((CODES,), {"crs": "EPSG:4326"}, "has the CRS WGS 84; a label tile has UTM"),
        ((CODES,), {"crs": None}, "has the CRS none"),
        ((CODES,), {"transform": Affine(20, 0, 0, 0, -20, 0)}, r"pixels of \(20, 0, 0, -20\) m"),
        ((CODES,), {"transform": Affine(10, 0, 0, 0, 10, 0)}, "north up"),
        ((CODES * 11,), {}, "holds the values 11; a label tile holds the codes 0..10"),
        ((CODES * np.float32(1.5),), {}, "holds the values 1.5"),
        ((CODES * np.float32("nan"),), {}, "holds the values nan"),
        ((CODES,), {"names": ("label",)}, "has the bands label;"),
        ((CODES, CODES), {"names": ("label", "other")}, "has the bands label, other;"),
        ((CODES, CODES), {}, "has the bands unnamed, unnamed;"),
    ],
)
def test_anything_else_is_refused_with_what_it_has(
    bands: tuple[np.ndarray, ...], changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "a.tif", *bands, **changes)

    with pytest.raises(DataError, match=message):
        label_raster.read_label(path)


def test_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="has 0 bytes"):
        label_raster.read_label(path)
    path.write_bytes(b"<html>413 Request Entity Too Large</html>")
    with pytest.raises(DataError, match="cannot be read as a GeoTIFF"):
        label_raster.read_label(path)
    with pytest.raises(DataError, match="does not exist"):
        label_raster.read_label(tmp_path / "missing.tif")
