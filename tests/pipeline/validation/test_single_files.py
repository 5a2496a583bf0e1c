"""Files that dwplus did not write: real ones that validators meet, each with its verdict; and how kinds are guessed."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.raster.geotiff import LABEL_BAND, ShardHeader, encode_shard, grid_of, write_label
from dwplus.pipeline.validation.file_view import L2A_BANDS
from dwplus.pipeline.validation.single_files import (
    Reference,
    files_below,
    guess_kind,
    judge_file,
    read_reference,
    remedy_of,
)
from support.paths import REAL_DATA
from support.tiles import make_pixels, make_tile

ODD = REAL_DATA / "odd_files"
EXPECTATIONS = ODD / "expectations.csv"
ROWS = list(csv.DictReader(EXPECTATIONS.open(encoding="utf-8"))) if EXPECTATIONS.is_file() else [None]

REASONS = {
    "gee_togo_206bands_epsg4326.tif": ("EPSG:4326", "stack of several dates", "float64"),
    "s1_vv_only_20m_nodata-99.tif": ("20 x 20 m", "not VV and VH", "-99"),
    "s1_grd_raw_gcps_no_crs.tif": ("210 ground control points", "not terrain-corrected"),
    "s2_l2a_B05_20m_60x60.tif": ("20 x 20 m",),
    "jp2_named_tif.tif": ("is JPEG 2000, not a GeoTIFF", "no CRS"),
    "rasterio_corrupt.tif": ("cannot be read to its end",),
    "rasterio_all_nodata.tif": ("no valid pixel at all",),
    "DERIVED_truncated60_S2L2A.tif": ("cannot be read to its end: cut off",),
    "DERIVED_zero_bytes.tif": ("is empty (0 bytes)",),
    "DERIVED_html_error_page.tif": ("text, not an image", "Error 413"),
    "DERIVED_missing_B11_B12.tif": ("lacks B11, B12",),
    "DERIVED_shifted_half_pixel.tif": ("moved by 5 m (0.5 px) east",),
    "DERIVED_good_named.tif": ("is no shard of dwplus", "int16", "224 x 224"),
    "LULC.tif": ("lacks VV and VH",),
}
"""What a person has to be told, by file; of real tiles used wrongly see below."""


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda r: f"{Path(r['file']).name}-{r['as']}-{r['verdict']}" if r else "absent"
)
def test_every_odd_file_gets_its_verdict_and_its_reason(row: dict[str, str] | None) -> None:
    if row is None:
        pytest.skip("the odd files are not on this machine (shared/realdata/odd_files)")
    like = read_reference(ODD / row["like"]) if row["like"] else None

    verdict = judge_file(ODD / row["file"], kind=row["as"], like=like)

    text = "; ".join(f.message for f in verdict.findings)
    assert verdict.accepted == (row["verdict"] == "accept"), text
    if not verdict.accepted:
        expected = REASONS.get(Path(row["file"]).name)
        expected = expected or (("EPSG:32630 instead of EPSG:32749",) if like else ("12 bands", "int16"))
        assert all(reason in text for reason in expected), text
        assert all(remedy_of(f) for f in verdict.findings)


def test_real_files_are_what_they_are_taken_for(real_data: Path) -> None:
    def judged(pattern: str) -> set[tuple[str | None, bool, tuple[str, ...]]]:
        verdicts = [judge_file(path) for path in real_data.glob(pattern)]
        assert verdicts
        return {(v.kind, v.accepted, tuple(f.rule for f in v.findings)) for v in verdicts}

    assert judged("dynamic_world_tiles/*.s2_l2a.tif") == {("s2", True, ())}
    assert judged("dynamic_world_tiles/*[0-9].tif") == {("label", True, ()), ("label", True, ("unmarked",))}
    # Twelve integers, two dB: the only reading of bands without names, said as a warning.
    assert judged("chips/*/S2L2A.tif") == {("s2", True, ("band-names",))}
    assert judged("chips/*/S1RTC.tif") == {("s1", True, ("band-names",))}
    # A model's labels carry a name, a nodata value and tags that released ones do not.
    assert judged("chips/*/DWMODEL_label.tif") == {("label", False, ("size", "model-label"))}
    assert judged("chips/*/LULC.tif") == {("label", False, ("size", "bands"))}
    assert judged("chips/*/DWMODEL_probs_u8.tif") == {(None, False, ("kind",))}


def test_a_model_label_without_any_sign_passes_for_a_released_one(real_data: Path, tmp_path: Path) -> None:
    # The limit of what can be told: without name, nodata and tags the codes 0..8 alone say nothing.
    with rasterio.open(next(real_data.glob("chips/*/DWMODEL_label.tif"))) as file:
        codes = np.tile(file.read(1), (3, 3))[:510, :510]
    write_label(tmp_path / "x.tif", codes, make_tile(size=510), {})

    assert judge_file(tmp_path / "x.tif").accepted


def test_our_own_files_are_accepted(tmp_path: Path) -> None:
    # Given a shard without provenance and a label, named as they lie in a data root.
    tile = make_tile(size=510)
    shard, label = tmp_path / f"{tile.id}.tif", tmp_path / "labels" / f"{tile.id}.tif"
    shard.write_bytes(encode_shard(make_pixels(510), tile, {}))
    write_label(label, np.full((510, 510), 2, dtype=np.uint8), tile, {})

    first, second = (judge_file(path, like=read_reference(label)) for path in (shard, label))

    assert (first.kind, [f.rule for f in first.findings]) == ("shard", ["provenance"])
    assert (second.kind, second.findings) == ("label", ())


def test_a_label_of_the_test_release_gives_the_grid_inside_its_margin(tmp_path: Path) -> None:
    outer, inner = make_tile(size=512), make_tile(size=510, x=500010.0, y=4999990.0)
    moved = make_tile(size=510)
    for name, tile in (("outer", outer), ("inner", inner), ("moved", moved)):
        write_label(tmp_path / f"{name}.tif", np.full(tile.shape, 2, dtype=np.uint8), tile, {})
    like = read_reference(tmp_path / "outer.tif")

    assert judge_file(tmp_path / "inner.tif", like=like).accepted
    assert [f.rule for f in judge_file(tmp_path / "moved.tif", like=like).findings] == ["grid"]


def test_the_kind_is_guessed_from_names_numbers_and_types() -> None:
    def guess(bands: tuple[str, ...], dtype: str) -> str | None:
        count = len(bands)
        grid = grid_of(make_tile())
        return guess_kind(ShardHeader(grid, bands, (dtype,) * count, "GTiff", None, (1.0,), (0.0,), {}))[0]

    assert guess(("B02", "B03", "B04"), "uint16") == "s2"
    assert guess(("vv", "vh"), "float32") == "s1"
    assert guess((*L2A_BANDS, "VV", "VH", "S1_N"), "uint16") == "shard"
    assert guess(("label", LABEL_BAND), "uint8") == "label"
    assert guess(("",), "uint8") == "label"
    assert guess(("",) * 12, "int16") == "s2"
    assert guess(("",) * 2, "float64") == "s1"
    assert guess(("",) * 3, "uint8") is None


def test_folders_are_searched_and_wrong_paths_say_so(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/b/x.TIF", "a/y.tiff", "a/notes.txt"):
        (tmp_path / name).touch()

    found = files_below([tmp_path / "a", tmp_path / "a" / "y.tiff"])

    assert [path.name for path in found] == ["x.TIF", "y.tiff"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no \.tif"):
        files_below([tmp_path / "empty"])
    with pytest.raises(UsageError, match="does not exist"):
        files_below([tmp_path / "none"])
    with pytest.raises(UsageError, match=r"--like .*notes\.txt is empty"):
        read_reference(tmp_path / "a" / "notes.txt")


def test_a_grid_that_is_off_by_rounding_is_the_same_grid(tmp_path: Path) -> None:
    tile = make_tile(size=510)
    write_label(tmp_path / "x.tif", np.full(tile.shape, 2, dtype=np.uint8), tile, {})
    grid = grid_of(tile)
    near = replace(grid, transform=(10.0, 0.0, 500000.0000001, 0.0, -10.0, 5e6))

    assert judge_file(tmp_path / "x.tif", like=Reference("near", near)).accepted
