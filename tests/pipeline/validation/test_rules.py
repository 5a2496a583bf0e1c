"""Rules: every rule finds the damage that it is for, and nothing in sound files of any kind."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.build.provenance import provenance
from dwplus.pipeline.earthengine.scene_choice import SceneRef
from dwplus.pipeline.raster.geotiff import RasterGrid, ShardHeader, encode_shard, grid_of
from dwplus.pipeline.spec.bands import S2_BANDS, SHARD_BANDS
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.validation.file_view import L2A_BANDS, FileView, Kind, facts_of, open_fully
from dwplus.pipeline.validation.rules import BY_NAME, FILE_RULES, judge
from dwplus.pipeline.validation.single_files import judge_file
from support.paths import REAL_DATA, REPOSITORY
from support.tiles import make_pixels, make_tile

TILE = make_tile()
GRID = grid_of(TILE)
SCENE = SceneRef("COPERNICUS/S2_SR_HARMONIZED", "20190701T101031_20190701T101030_T32TNQ", "index")
TAGS = provenance(TILE, SCENE, Recipe(), make_pixels(), "SANDBOX")


def drawn() -> np.random.Generator:
    """The same numbers for every test, whatever ran before."""
    return np.random.default_rng(5)


def header(bands: tuple[str, ...], dtype: str, grid: RasterGrid = GRID, **changes: Any) -> ShardHeader:
    count = len(bands)
    plain = ShardHeader(grid, bands, (dtype,) * count, "GTiff", None, (1.0,) * count, (0.0,) * count, {})
    return replace(plain, **changes)


def sound(kind: Kind) -> FileView:
    """A file of each kind without any fault, 8 x 8 px; shards on the grid of their tile."""
    if kind == "shard":
        scales, offsets = (1e-4,) * 11 + (0.01, 0.01, 1.0), (0.0,) * 11 + (-100.0, -100.0, 0.0)
        shard = header(SHARD_BANDS, "uint16", nodata=0.0, scales=scales, offsets=offsets, tags=TAGS)
        label, codes = header(("lulc",), "uint8"), np.full((8, 8), 2, dtype=np.uint8)
        return FileView("shard", TILE.id, shard, make_pixels(), reference=GRID, label=label, label_codes=codes)
    if kind == "s2":
        return FileView(
            "s2",
            "stack",
            header(L2A_BANDS, "int16"),
            drawn().integers(200, 3000, (12, 8, 8)).astype(np.int16),
        )
    if kind == "s1":
        values = np.stack([drawn().normal(-12, 3, (8, 8)), drawn().normal(-19, 3, (8, 8))])
        return FileView("s1", "radar", header(("VV", "VH"), "float64", nodata=float("nan")), values)
    grid = replace(GRID, shape=(510, 510))
    return FileView("label", TILE.id, header(("",), "uint8", grid), np.full((1, 8, 8), 2, dtype=np.uint8))


Damage = Callable[[FileView], FileView]


def in_header(**changes: Any) -> Damage:
    return lambda view: replace(view, header=replace(view.header, **changes))


def on_grid(**changes: Any) -> Damage:
    return lambda view: replace(view, header=replace(view.header, grid=replace(view.header.grid, **changes)))


def in_band(band: str, values: Any) -> Damage:
    """The band set to a value, or to what a function makes of it."""

    def damage(view: FileView) -> FileView:
        pixels = view.values.copy()
        number = view.bands.index(band)
        pixels[number] = values(pixels[number]) if callable(values) else values
        return replace(view, values=pixels)

    return damage


def everywhere(change: Callable[[Any], Any]) -> Damage:
    return lambda view: replace(view, values=change(view.values))


def tagged(**tags: str) -> Damage:
    return lambda view: replace(view, header=replace(view.header, tags={**view.header.tags, **tags}))


def with_gap(values: Any, rows: int = 2, nothing: float = 0) -> Any:
    values = values.copy()
    values[..., :rows, :] = nothing
    return values


def with_codes(codes: int, rows: int = 8) -> Damage:
    return lambda view: replace(view, label_codes=with_gap(view.label_codes, rows, codes))


def swapped(values: Any) -> Any:
    return values[::-1].copy()


def with_offset(values: Any) -> Any:
    # Dark water in one corner, in every band, then the offset.
    return with_gap(values, rows=1, nothing=30) + 1000


def from_spectrum(**dn: int) -> Damage:
    """Each band drawn from 0 to its value, two values at least; ``1`` is the same in every pixel."""

    def damage(view: FileView) -> FileView:
        values = view.values.copy()
        for band, most in dn.items():
            values[view.bands.index(band)] = 1 if most == 1 else drawn().integers(1, most + 1, values.shape[1:])
        return replace(view, values=values)

    return damage


_INFRARED = dict.fromkeys(("B6", "B7", "B8", "B8A"), 1)
OPEN_SEA = from_spectrum(B1=40, B2=500, B3=380, B4=80, B5=20, B9=1, B11=9, B12=12, **_INFRARED)
CLEAR_SEA = from_spectrum(
    B1=60, B2=120, B3=90, B4=30, B5=15, B6=12, B7=13, B8=14, B8A=11, B9=10, B11=8, B12=7
)  # fmt: skip


def as_seen_from_space(view: FileView) -> FileView:
    """The same ground with the light that air scatters: reflectance 0.10, 0.07, 0.05, 0.03 in B1..B4 (Rayleigh)."""
    values = view.values.copy()
    for band, dn in {"B1": 1000, "B2": 700, "B3": 500, "B4": 300}.items():
        values[view.bands.index(band)] += dn
    return replace(view, values=values)


def calm_water(values: Any) -> Any:
    """VV at -29 dB, VH at -26 dB: the noise of the sensor, which differs between the two."""
    return np.stack([drawn().normal(-29, 1, (8, 8)), drawn().normal(-26, 1, (8, 8))])


FOUR_SCENES = [f"S1A_IW_GRDH_1SDV_{day}T171200_{day}T171225_020800_023A8C_{day[-4:]}" for day in (
    "20180216", "20180228", "20180301", "20180312",
)] * 8  # fmt: skip
"""32 scenes, half of them from before March 2018: more than the 30 observations that the pixels count."""

DAMAGES: list[tuple[str, Kind, Damage]] = [
    ("readable", "shard", lambda view: replace(view, values=None, fault="is empty (0 bytes)")),
    ("file-size", "s2", lambda view: replace(view, values=None, fault="has 2.0 GB", too_large=True)),
    ("label-hash", "shard", lambda view: replace(view, label_sha256="a" * 64, expected_label_sha256="b" * 64)),
    ("label-dtype", "shard", lambda view: replace(view, label=header(("lulc",), "float32"))),
    ("lossless", "label", in_header(lossy="JPEG")),
    ("clamped-band", "s2", OPEN_SEA),
    ("s2-dark", "s2", CLEAR_SEA),
    ("s2-level", "s2", as_seen_from_space),
    ("bands", "s2", in_header(bands=(*L2A_BANDS[:9], "B10", *L2A_BANDS[10:]))),
    ("s1-noise", "s1", everywhere(calm_water)),
    ("s1-border", "s1", everywhere(lambda v: with_gap(v, rows=1, nothing=-60.0) + drawn().normal(0, 0.3, v.shape))),
    ("s1-early", "shard", tagged(S1_SCENES=" ".join(FOUR_SCENES))),
    ("fill", "s1", everywhere(lambda v: with_gap(v, nothing=-3.4e38))),
    ("fill", "s1", everywhere(lambda v: with_gap(v, nothing=9.97e36))),
    ("fill", "s1", everywhere(lambda v: with_gap(v, nothing=-32767))),
    ("fill", "s1", everywhere(lambda v: with_gap(v, nothing=-1000))),
    ("fill", "s1", everywhere(lambda v: with_gap(v, nothing=12345.0))),
    ("fill", "s1", everywhere(lambda v: with_gap(v, nothing=np.inf))),
    ("fill", "s2", everywhere(lambda v: with_gap(v, nothing=-10000))),
    ("fill", "s2", everywhere(lambda v: with_gap(v, nothing=-32767))),
    ("label-readable", "shard", lambda view: replace(view, label_codes=None, label_fault="does not exist")),
    ("driver", "shard", in_header(driver="JP2OpenJPEG")),
    ("hash", "shard", lambda view: replace(view, sha256="a" * 64, expected_sha256="b" * 64)),
    ("crs", "s2", on_grid(crs="EPSG:4326")),
    ("crs", "label", on_grid(crs="no CRS")),
    # The right place in the neighbouring zone would have another easting.
    ("utm-zone", "label", on_grid(crs="EPSG:32633")),
    ("utm-zone", "label", on_grid(crs="EPSG:32732")),
    ("utm-zone", "s2", on_grid(transform=(10.0, 0.0, 1_200_000.0, 0.0, -10.0, 5e6))),
    ("resolution", "s1", on_grid(transform=(20.0, 0.0, 500000.0, 0.0, -20.0, 5e6))),
    ("north-up", "s2", on_grid(transform=(10.0, 0.0, 500000.0, 0.0, 10.0, 5e6))),
    ("north-up", "s2", on_grid(transform=(6.0, 8.0, 500000.0, 8.0, -6.0, 5e6))),
    ("size", "label", on_grid(shape=(511, 510))),
    ("grid", "s2", lambda view: replace(view, reference=replace(GRID, transform=(10.0, 0, 500005.0, 0, -10.0, 5e6)))),
    ("label-grid", "shard", lambda view: replace(view, label=header(("lulc",), "uint8", replace(GRID, shape=(8, 9))))),
    ("bands", "shard", in_header(bands=SHARD_BANDS[::-1])),
    ("bands", "s2", in_header(bands=("B1", *L2A_BANDS[1:-1], "B2"))),
    ("bands", "s2", in_header(bands=(*L2A_BANDS[:-1], "B2_1"))),
    ("bands", "s1", in_header(bands=("VV", "VV"))),
    ("bands", "label", in_header(bands=("bands",))),
    ("band-names", "s2", in_header(bands=("",) * 12)),
    ("band-names", "s1", in_header(bands=("bands", "bands"))),
    ("dtype", "shard", in_header(dtypes=("int16",) * 14)),
    ("dtype", "s1", in_header(dtypes=("uint16",) * 2)),
    ("encoding", "shard", in_header(nodata=None)),
    ("encoding", "s2", in_header(offsets=(-0.1,) * 12)),
    ("nodata", "s1", in_header(nodata=-99.0)),
    ("provenance", "shard", in_header(tags={})),
    ("provenance", "shard", tagged(TILE="dw_10.0_45.0-20190701")),
    ("provenance", "shard", tagged(S1_WINDOW="2019-01-02/2020-01-02")),
    ("s2-baseline", "shard", tagged(S2_COLLECTION="COPERNICUS/S2_SR", S2_BASELINE="05.00")),
    ("model-label", "label", in_header(bands=("label",))),
    ("model-label", "label", in_header(nodata=255.0)),
    ("empty-band", "shard", in_band("B11", 0)),
    ("empty-band", "s1", everywhere(lambda v: np.full_like(v, np.nan))),
    ("codes", "shard", with_codes(11, rows=1)),
    ("codes", "label", everywhere(lambda v: with_gap(v, nothing=200))),
    ("unmarked", "shard", with_codes(10)),
    ("fill", "s1", everywhere(lambda v: with_gap(v, nothing=-99))),
    ("fill", "s2", everywhere(lambda v: with_gap(v, nothing=-9999))),
    ("stuck-band", "shard", in_band("B11", 1234)),
    ("twin-bands", "s2", lambda view: in_band("B8A", view.values[7])(view)),
    ("s2-gaps", "shard", in_band("B2", with_gap)),
    ("s2-range", "shard", in_band("B4", lambda v: v + 40_000)),
    ("s2-range", "s2", everywhere(lambda v: v // 100)),
    ("s2-negative", "s2", everywhere(lambda v: np.where(v == 1000, 1, v - 1000))),
    ("s2-bright", "shard", in_band("B4", lambda v: with_gap(v, nothing=65000))),
    ("s2-offset", "s2", everywhere(with_offset)),
    ("s1-gaps", "s1", everywhere(lambda v: with_gap(v, nothing=np.nan))),
    ("s1-linear", "s1", everywhere(lambda v: 10 ** (v / 10))),
    # Power of about 0.06 stored as if it were dB.
    ("s1-linear", "shard", in_band("VV", lambda v: v + 1306)),
    ("s1-range", "s1", everywhere(lambda v: v - 50)),
    ("s1-order", "s1", everywhere(swapped)),
    ("s1-count", "shard", in_band("S1_N", 1081)),
    ("s1-count", "shard", lambda view: tagged(S1_SCENES=" ".join("s" * 29))(view)),
    ("s1-pairing", "shard", in_band("S1_N", lambda v: with_gap(v, rows=1))),
]


@pytest.mark.parametrize("kind", ["shard", "s2", "s1", "label"])
def test_a_sound_file_has_no_finding(kind: Kind) -> None:
    assert judge(sound(kind)) == []


@pytest.mark.parametrize(("rule", "kind", "damage"), DAMAGES, ids=[f"{r}-{k}" for r, k, _ in DAMAGES])
def test_every_rule_finds_its_own_damage_and_no_other_does(rule: str, kind: Kind, damage: Damage) -> None:
    findings = judge(damage(sound(kind)))

    assert [(f.rule, f.severity) for f in findings] == [(rule, BY_NAME[rule].severity)], findings
    # One sentence that goes on from the name of a file.
    assert re.match(r"^[a-z\dBV]", findings[0].message), findings[0].message


def test_every_rule_has_a_damage_and_a_sentence_for_a_person() -> None:
    assert {rule.name for rule in FILE_RULES} == {rule for rule, _, _ in DAMAGES}
    assert all(kind in BY_NAME[rule].kinds for rule, kind, _ in DAMAGES)
    assert all(rule.meaning.endswith(".") and rule.remedy and not rule.remedy.endswith(".") for rule in FILE_RULES)


def test_water_and_noise_are_warnings_and_the_tile_stays() -> None:
    for kind, damage in (("s2", OPEN_SEA), ("s2", CLEAR_SEA), ("s1", everywhere(calm_water))):
        assert {finding.severity for finding in judge(damage(sound(kind)))} == {"warning"}


def test_a_lake_as_dark_as_night_is_water_and_stays() -> None:
    # Given brown water in winter: some DN of visible light, and hardly less infrared.
    lake = from_spectrum(B1=70, B2=60, B3=75, B4=62, B5=58, B6=52, B7=50, B8=48, B8A=45, B9=40, B11=30, B12=25)

    assert [(f.rule, f.severity) for f in judge(lake(sound("s2")))] == [("s2-dark", "warning")]


def test_clamped_bands_that_agree_but_for_a_ship_are_no_twins() -> None:
    def with_ship(view: FileView) -> FileView:
        values = OPEN_SEA(view).values.copy()
        for band in ("B8", "B8A"):
            values[view.bands.index(band), 3, 3:5] = (400, 700)
        return replace(view, values=values)

    assert "twin-bands" not in {finding.rule for finding in judge(with_ship(sound("s2")))}


@pytest.mark.parametrize(
    ("rows", "findings"), [(1, ["s1-border"]), (5, ["s1-border"]), (7, ["s1-border"]), (8, ["s1-range"])]
)
def test_noise_along_an_edge_is_no_other_unit_however_wide_it_is(rows: int, findings: list[str]) -> None:
    # Given -60 dB in 1, 5, 7 of 8 rows; where there is no ground at all, nobody knows what the numbers are.
    view = everywhere(lambda v: with_gap(v, rows=rows, nothing=-60.0) + drawn().normal(0, 0.3, v.shape))(sound("s1"))

    assert [finding.rule for finding in judge(view)] == findings


def test_an_eight_bit_picture_of_land_is_no_water() -> None:
    # Near infrared is bright, as over any land.
    view = everywhere(lambda values: values // 12)(sound("s2"))

    assert [finding.rule for finding in judge(view)] == ["s2-range"]


def test_bands_that_are_all_clamped_are_no_water() -> None:
    view = everywhere(lambda values: np.ones_like(values))(sound("s2"))

    assert "stuck-band" in {finding.rule for finding in judge(view)}


@pytest.mark.parametrize(("exponent", "unit"), [(10, "linear power"), (20, "amplitude")])
def test_power_and_amplitude_are_told_apart(exponent: int, unit: str) -> None:
    view = everywhere(lambda decibel: 10 ** (decibel / exponent))(sound("s1"))

    assert f": {unit}, not dB" in judge(view)[0].message


def test_zeros_in_the_band_of_angles_are_no_fill_value() -> None:
    view = sound("s1")
    angles = np.zeros((1, 8, 8))
    wider = replace(view, header=header(("VV", "VH", "angle"), "float64"), values=np.concatenate([view.values, angles]))

    assert judge(wider) == []


CHIPS = sorted((REAL_DATA / "mini" / "chips").glob("*")) if REAL_DATA.is_dir() else []


@pytest.mark.skipif(not CHIPS, reason="the real chips are not beside this checkout")
@pytest.mark.parametrize("folder", CHIPS, ids=lambda folder: folder.name[-24:])
def test_real_chips_are_accepted(folder: Path) -> None:
    for name, kind in (("S2L2A.tif", "s2"), ("S1.tif", "s1")):
        assert judge_file(folder / name, kind=kind).accepted


@pytest.mark.skipif(not CHIPS, reason="the real chips are not beside this checkout")
def test_odd_real_files_are_judged_as_expected() -> None:
    folder = REAL_DATA / "mini" / "odd_files"
    with (folder / "expectations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert len(rows) == 7
    for row in rows:
        verdict = judge_file(folder / row["file"], kind=row["as"])
        wanted = row["verdict"].split(" (")[0]
        found = "refuse" if not verdict.accepted else "warn" if verdict.findings else "accept"
        assert found in wanted or (wanted == "accept" and verdict.accepted), (row["file"], verdict.findings)


@pytest.mark.skipif(not CHIPS, reason="the real chips are not beside this checkout")
def test_real_top_of_atmosphere_stacks_are_refused_with_and_without_b10(tmp_path: Path) -> None:
    for path in sorted((REAL_DATA / "mini" / "chips").glob("*/S2L1C.tif")):
        assert not judge_file(path, kind="s2").accepted
    # The scene over sand and rock has no dark pixel, which the ladder needs.
    for name in ("tm_282D_485L_3_3", "tm_433D_629L_3_1"):
        opened = open_fully(REAL_DATA / "mini" / "chips" / name / "S2L1C.tif")
        keep = [place for place, band in enumerate(opened.header.bands) if band != "B10"]
        bands = tuple(opened.header.bands[place] for place in keep)
        view = FileView("s2", name, replace(opened.header, bands=bands), opened.values[keep])
        assert "s2-level" in {finding.rule for finding in judge(view)}


def test_the_manual_holds_the_table_of_rules() -> None:
    manual = (REPOSITORY / "docs" / "validation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (error|warning) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", manual, flags=re.M)

    assert rows == [(r.name, r.severity, ", ".join(r.kinds), r.meaning, r.remedy) for r in FILE_RULES]


def test_pixels_are_not_judged_where_the_form_is_wrong() -> None:
    # Given linear power under the names of another order.
    view = replace(in_header(bands=SHARD_BANDS[::-1])(sound("shard")), values=np.ones((14, 8, 8), np.uint16))

    assert [f.rule for f in judge(view)] == ["bands"]


def test_half_a_pixel_is_said_in_metres_and_pixels() -> None:
    view = on_grid(transform=(10.0, 0.0, 500005.0, 0.0, -10.0, 5e6))(sound("shard"))

    assert "its tile: moved by 5 m (0.5 px) east" in judge(view)[0].message


def test_the_observations_of_a_window_are_bounded_by_its_scenes() -> None:
    view = tagged(S1_SCENES=" ".join("s" * 30))(sound("shard"))

    assert judge(view) == []


@pytest.mark.parametrize("nothing", [0, -99, 65535, np.nan])
@pytest.mark.parametrize("declared", [True, False])
def test_no_data_of_any_kind_stays_out_of_the_numbers(nothing: float, declared: bool) -> None:
    # Given radar with an eighth of its pixels filled, as four producers do it.
    view = everywhere(lambda v: with_gap(v, rows=1, nothing=nothing))(sound("s1"))
    view = replace(view, header=replace(view.header, nodata=nothing if declared else None))

    rules = {f.rule for f in judge(view)}

    assert view.facts("VV").missing_share == 1 / 8
    assert -13 < view.facts("VV").median / 100 - 100 < -11
    assert ("fill" in rules) == (not declared and not np.isnan(nothing))


def test_facts_of_a_histogram_are_those_of_numpy() -> None:
    values = drawn().integers(0, 4000, 10_000)

    facts = facts_of(np.bincount(values))

    valid = np.sort(values[values > 0])
    assert (facts.pixels, facts.valid) == (10_000, len(valid))
    assert (facts.minimum, facts.maximum) == (valid[0], valid[-1])
    at = [int(np.ceil(q * len(valid))) - 1 for q in (0.001, 0.01, 0.5)]
    assert [facts.floor, facts.low, facts.median] == valid[at].tolist()
    assert facts_of(np.array([7])).missing_share == 1


def test_the_offset_is_seen_on_real_stacks_and_nowhere_else(real_data: Path) -> None:
    # Given every real stack at hand, as it is (one has the offset), and with 1000 added or taken away.
    stacks = [*real_data.glob("dynamic_world_tiles/*.s2_l2a.tif"), *real_data.glob("chips/*/S2L2A.tif")]
    with_it = real_data / "odd_files" / "DERIVED_good_named.tif"

    def seen(path: Path, shift: int = 0, factor: float = 1) -> bool:
        file = open_fully(path)
        values = np.maximum(file.values * factor + shift, 1).astype(np.int32)
        return any(f.rule == "s2-offset" for f in judge(FileView("s2", path.stem, file.header, values)))

    assert len(stacks) == 4
    assert not any(seen(path) for path in stacks)
    assert seen(with_it)
    assert not seen(with_it, shift=-1000)
    # Without water or shadow nothing can be said; with them the offset is found. Haze over savanna has none.
    found = {path.parent.name: seen(path, shift=1000) for path in stacks if "chips" in path.parts}
    assert found == {"terramesh_282D_485L_3_3": True, "terramesh_38D_378R_2_3": False}
    # Brighter ground (desert, snow) of any brightness raises nothing.
    assert not any(seen(path, factor=factor) for path in stacks for factor in (1.5, 2, 3, 5))


def test_snow_and_desert_are_no_offset() -> None:
    # Reflectances of fresh snow and of dry sand, B1..B12 without B9, B10; the offset-free floor of each band.
    snow = (8500, 9000, 9000, 8900, 8800, 8600, 8400, 8200, 8000, 900, 800)
    sand = (1100, 1300, 1900, 2700, 3000, 3200, 3400, 3500, 3600, 4500, 4200)
    for spectrum in (snow, sand):
        pixels = np.array(spectrum, dtype=np.int16)[:, None, None] + drawn().integers(
            0, 300, (11, 8, 8), dtype=np.int16
        )
        assert judge(FileView("s2", "x", header(S2_BANDS, "int16"), pixels)) == []


def test_a_file_is_read_once_to_its_last_byte(tmp_path: Path) -> None:
    # Given an uncompressed raster that lacks its last row.
    path = tmp_path / "x.tif"
    profile = {"driver": "GTiff", "height": 100, "width": 100, "count": 1, "dtype": "uint16", "blockysize": 1}
    with rasterio.open(path, "w", **profile, crs=GRID.crs, transform=TILE.affine) as file:
        file.write(drawn().integers(0, 9, (1, 100, 100)).astype(np.uint16))
    path.write_bytes(path.read_bytes()[:-100])

    opened = open_fully(path)

    assert opened.header is not None
    assert opened.values is None
    assert opened.fault.startswith("opens but cannot be read to its end")


def test_a_header_that_is_no_text_is_a_fault_and_stops_nothing(tmp_path: Path) -> None:
    # Given a shard in which one byte of a band's name is flipped.
    path = tmp_path / "x.tif"
    content = encode_shard(make_pixels(), TILE, TAGS)
    path.write_bytes(content.replace(b"S1_N</Item>", b"\xb61_N</Item>"))

    assert path.read_bytes() != content
    assert open_fully(path).fault.startswith("has a damaged header")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty (0 bytes)"),
        (b"<!DOCTYPE html><title>Error 413</title>", "server's error page? It begins: 'Error 413'"),
        (b'{"error": {"code": 429}}', "holds text, not an image"),
        (b"<VRTDataset rasterXSize='2'>", "is a VRT, which names other files"),
        (b"II*\0\x08\0\0\0", "begins as a TIFF and cannot be opened"),
        (bytes(range(256)), "is no image that can be read (256 bytes, beginning with 00 01"),
    ],
)
def test_what_is_no_raster_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)

    assert fault in open_fully(path).fault


def test_old_scenes_are_counted_and_what_to_do_is_said() -> None:
    early = tagged(S1_SCENES=" ".join(FOUR_SCENES))(sound("shard"))
    masked = tagged(S1_SCENES=" ".join(FOUR_SCENES), S1_EDGE_M="2000")(sound("shard"))
    unnamed = tagged(S1_SCENES=" ".join(["s"] * 32))(sound("shard"))

    assert [finding.message for finding in judge(early)] == [
        "16 of its 32 Sentinel-1 scenes (50%) are from before March 2018 and may have noise along the edges; to mask "
        "them build all tiles with --s1-edge 2km"
    ]
    assert judge(masked) == judge(unnamed) == []
