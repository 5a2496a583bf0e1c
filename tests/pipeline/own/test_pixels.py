"""Adding pixels to labels: shards, ledger and record, from stacks, band files and SAFE folders."""

import itertools
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr
from affine import Affine
from dwplus.pipeline.build.build import build_added
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.dataset.store import write_store
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.own.pixels import Added, Addition, add_pixels
from dwplus.pipeline.own.pixels_dates import Dates
from dwplus.pipeline.own.pixels_units import Said
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import read_bands, read_header
from dwplus.pipeline.spec.bands import PRESETS, S2_BANDS, SHARD_BANDS
from dwplus.pipeline.spec.radar import Radar
from dwplus.pipeline.spec.sources import Source
from dwplus.pipeline.spec.tiles import Tile
from dwplus.pipeline.validation.single_files import judge_file
from support.own_tiles import lay_out_labels, own_tile, s1_values, s2_values, write_raster, write_s1, write_s2

S2 = Addition(sensors=("S2",))
ONE_DATE = Radar("sigma0", "none", 1, ("ASCENDING",))
S1 = Addition(sensors=("S1",), radar=ONE_DATE)
BOTH = Addition(sensors=("S2", "S1"), radar=ONE_DATE)


def add(root: DataRoot, addition: Addition, *paths: Path) -> Added:
    return add_pixels(root, paths, addition, progress=Silent())


@pytest.fixture
def tiles() -> list[Tile]:
    return [own_tile(x=500_000.0 + 1_000 * n) for n in range(4)]


@pytest.fixture
def root(tmp_path: Path, tiles: list[Tile]) -> DataRoot:
    return lay_out_labels(tmp_path / "mine", tiles)


@pytest.fixture
def stacks(tmp_path: Path, tiles: list[Tile]) -> Path:
    """A stack of Sentinel-2 and one of Sentinel-1 for each tile, and a map that is neither."""
    for number, tile in enumerate(tiles):
        write_s2(tmp_path / "stacks" / f"s2_{number}_20190703.tif", tile, seed=number)
        write_s1(tmp_path / "stacks" / f"s1_{number}_20190705.tif", tile, seed=number)
    write_raster(
        tmp_path / "stacks" / "map_20190701.tif", np.ones((1, 4, 4), np.uint8), tiles[0].affine, names=("lulc",)
    )
    return tmp_path / "stacks"


def test_stacks_become_shards_of_their_labels(root: DataRoot, stacks: Path, tiles: list[Tile]) -> None:
    added = add(root, BOTH, stacks)

    # The margin of four pixels is cut off; DN stay, dB are rounded to 0.01.
    pixels = read_bands(root.shard(tiles[1]), SHARD_BANDS)
    np.testing.assert_array_equal(pixels[:11], s2_values(40, 40, seed=1)[:, 4:36, 4:36])
    expected = np.rint((s1_values(40, 40, seed=1)[:, 4:36, 4:36].astype(np.float64) + 100) * 100)
    np.testing.assert_array_equal(pixels[11:13], expected)
    assert (pixels[13] == 1).all()
    assert dict(added.states) == {"done": 4}
    assert added.dropped == {"map_20190701.tif": "holds lulc alone"}


def test_a_shard_says_where_its_pixels_come_from(root: DataRoot, stacks: Path, tiles: list[Tile]) -> None:
    add(root, replace(BOTH, source=Source.added_as("valley"), licence="CC BY 4.0"), stacks)

    tags = read_header(root.shard(tiles[0])).tags
    assert tags["DWPLUS_SOURCE"] == "user:valley"
    assert (tags["S2_SCENES"], tags["S2_DATE"], tags["S2_DAYS"]) == ("s2_0_20190703.tif", "2019-07-03", "2")
    assert (tags["S1_CALIBRATION"], tags["S1_MEAN"], tags["S1_PASSES"]) == ("sigma0", "none", "ASCENDING")
    assert tags["LICENCE"].startswith("Contains modified Copernicus Sentinel data 2019; pixels were added by a user")
    assert tags["LICENCE"].endswith("; CC BY 4.0")
    row = root.ledger()[tiles[0].id]
    assert (row.state, row.source, row.scene, row.rule) == ("done", "user:valley", "s2_0_20190703.tif", "2 days")
    assert root.source() == "user:valley"


def test_a_data_set_of_added_pixels_is_validated_and_read_for_training(root: DataRoot, stacks: Path) -> None:
    add(root, BOTH, stacks)

    result = build_added(root, run=in_process, progress=Silent())

    assert dict(result.states) == {"done": 4}
    assert [finding for finding in result.findings if finding.severity == "error"] == []
    sample = Dataset(root, split="train")[0]
    assert sample.primary.shape == (10, 32, 32)
    assert (sample.label != 255).all()
    assert "user:own" in root.card_file.read_text()
    assert "sigma0, one date, ascending pass" in root.card_file.read_text()


def test_sentinel_2_alone_makes_a_data_set_for_networks_with_one_input(root: DataRoot, stacks: Path) -> None:
    add(root, S2, *sorted(stacks.glob("s2_*")))

    result = build_added(root, run=in_process, progress=Silent())

    assert not root.has_s1()
    assert not result.broken
    sample = Dataset(root, split="train", auxiliary=())[0]
    assert (sample.label != 255).all()
    assert set(root.statistics("strict").bands) == set(S2_BANDS)
    with pytest.raises(UsageError, match=r"has no Sentinel-1: take a network with one input"):
        Dataset(root, split="train", auxiliary=PRESETS["sar"])


@pytest.mark.parametrize("order", [(S2, S1), (S1, S2)])
def test_sensors_added_one_after_the_other_give_the_shards_of_both_at_once(
    tmp_path: Path, tiles: list[Tile], stacks: Path, order: tuple[Addition, Addition]
) -> None:
    once, twice = (lay_out_labels(tmp_path / name, tiles) for name in ("once", "twice"))
    (stacks / "map_20190701.tif").unlink()

    add(once, BOTH, stacks)
    for addition in order:
        add(twice, addition, *sorted(stacks.glob(f"{addition.sensors[0].lower()}_*")))

    for tile in tiles:
        assert once.own_shard(tile).read_bytes() == twice.own_shard(tile).read_bytes()
        assert twice.ledger()[tile.id].state == "done"


def test_tiles_without_a_file_are_listed_with_the_reason(root: DataRoot, stacks: Path, tiles: list[Tile]) -> None:
    (stacks / "s2_3_20190703.tif").unlink()
    write_s2(stacks / "s2_3_20190915.tif", tiles[3], seed=3)
    (stacks / "s1_1_20190705.tif").unlink()

    added = add(root, BOTH, stacks)
    build_added(root, run=in_process, progress=Silent())

    assert dict(added.states) == {"done": 2, "no_pixels": 2}
    table = root.failures_file.read_text()
    assert "no_pixels,1,no Sentinel-1 file overlaps it" in table
    assert 'no_pixels,1,"the nearest Sentinel-2 file is 76 days away, more than 30"' in table
    assert added.dropped["s2_3_20190915.tif"] == "lies 76 days from the date of every tile that it overlaps"


def test_adding_the_same_again_changes_nothing(root: DataRoot, stacks: Path) -> None:
    add(root, BOTH, stacks)
    before = {path: path.read_bytes() for path in root.folder.rglob("*") if path.is_file()}

    add(root, BOTH, stacks)

    assert {path: path.read_bytes() for path in root.folder.rglob("*") if path.is_file()} == before


def test_a_nearer_file_replaces_pixels_and_a_farther_one_does_not(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    day_5, day_2, day_9 = (write_s2(tmp_path / f"a_2019070{n}.tif", tile, seed=n) for n in (6, 3, 9))

    shards = []
    for path in (day_5, day_2, day_9):
        add(root, S2, path)
        shards.append(read_header(root.shard(tile)).tags["S2_DATE"])

    assert shards == ["2019-07-06", "2019-07-03", "2019-07-03"]
    assert len(root.added_pixels().inputs) == 3  # type: ignore[union-attr]


def test_gaps_are_filled_from_another_file_of_the_day_never_of_another(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    values = [s2_values(32, 32, seed=n) for n in range(3)]
    values[0][:, :, 20:] = 0
    values[1][:, :, :4] = 0
    for number, day in enumerate(("01", "01", "04")):
        write_raster(tmp_path / "s" / f"{'abc'[number]}_201907{day}.tif", values[number], tile.affine, names=S2_BANDS)

    add(root, S2, tmp_path / "s")

    pixels = read_bands(root.shard(tile), S2_BANDS)
    np.testing.assert_array_equal(pixels[:, :, :20], values[0][:, :, :20])
    np.testing.assert_array_equal(pixels[:, :, 20:], values[1][:, :, 20:])


def test_a_day_without_data_on_the_tile_gives_way_to_the_next(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    empty, full = s2_values(32, 32), s2_values(32, 32, seed=1)
    empty[:, :24] = 0
    write_raster(tmp_path / "s" / "a_20190701.tif", empty, tile.affine, names=S2_BANDS)
    write_raster(tmp_path / "s" / "b_20190711.tif", full, tile.affine, names=S2_BANDS)

    add(root, S2, tmp_path / "s")

    np.testing.assert_array_equal(read_bands(root.shard(tile), S2_BANDS), full)


# --- kinds of input ---------------------------------------------------------------------------------------------------


def test_files_of_one_band_each_are_put_together_by_their_names(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    values = s2_values(32, 32)
    for number, band in enumerate(S2_BANDS):
        name = f"T32TNR_20190701T101031_{band if len(band) > 2 else band.replace('B', 'B0')}_10m.tif"
        write_raster(tmp_path / "cogs" / name, values[number : number + 1], tile.affine)
    # The same band at 20 m: the finer one is taken.
    coarse = tile.affine @ Affine.scale(2)
    write_raster(tmp_path / "cogs" / "T32TNR_20190701T101031_B02_20m.tif", values[:1, ::2, ::2], coarse)

    add(root, S2, tmp_path / "cogs")

    np.testing.assert_array_equal(read_bands(root.shard(tile), S2_BANDS), values)
    assert read_header(root.shard(tile)).tags["S2_SCENES"] == "T32TNR_20190701T101031"


TEN_BANDS = S2_BANDS[1:]


def test_a_stack_of_ten_bands_makes_a_data_set_without_b1(tmp_path: Path, tiles: list[Tile], root: DataRoot) -> None:
    values = [s2_values(32, 32, seed=number) for number in range(4)]
    for number, tile in enumerate(tiles):
        path = tmp_path / "ten" / f"s2_{number}_20190703.tif"
        write_raster(path, values[number][1:], tile.affine, names=TEN_BANDS)

    assert judge_file(tmp_path / "ten" / "s2_0_20190703.tif").accepted
    added = add(root, S2, tmp_path / "ten")
    result = build_added(root, run=in_process, progress=Silent())

    assert (dict(added.states), added.absent) == ({"done": 4}, ("B1",))
    stored = read_bands(root.shard(tiles[2]), S2_BANDS)
    assert not stored[0].any()
    np.testing.assert_array_equal(stored[1:], values[2][1:])
    tags = read_header(root.shard(tiles[2])).tags
    assert (tags["S2_ABSENT"], tags["S2_COVERED_SHARE"]) == ("B1", "1.0000")
    # Nothing is wrong with it, all pixels count, and nothing is known of B1.
    assert result.broken == 0
    statistics = root.statistics("strict")
    assert tuple(statistics.bands) == TEN_BANDS
    assert sum(statistics.class_counts) == 2 * 32 * 32
    assert len(Dataset(root, split="train", auxiliary=())) == 2
    with pytest.raises(UsageError, match=r"has no B1: files that were added to it lack that band; .*--primary ms10"):
        Dataset(root, split="train", primary=PRESETS["ms11"], auxiliary=())
    assert "There is no B1: files lack it." in root.card_file.read_text()


def test_a_file_without_b1_takes_it_from_the_whole_tile_and_the_data_set(tmp_path: Path) -> None:
    # Given one day in two files: the left one has eleven bands, the right one ten.
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    values = s2_values(32, 32)
    left, right = values.copy(), values[1:].copy()
    left[:, :, 20:], right[:, :, :8] = 0, 0
    write_raster(tmp_path / "s" / "a_20190701.tif", left, tile.affine, names=S2_BANDS)
    write_raster(tmp_path / "s" / "b_20190701.tif", right, tile.affine, names=TEN_BANDS)

    add(root, S2, tmp_path / "s")

    stored = read_bands(root.shard(tile), S2_BANDS)
    np.testing.assert_array_equal(stored[1:], values[1:])
    assert not stored[0].any()
    assert root.absent_bands() == ("B1",)


def test_files_of_one_band_each_may_lack_b1_and_no_other(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    values = s2_values(32, 32)
    for band in TEN_BANDS:
        number = S2_BANDS.index(band)
        write_raster(tmp_path / "cogs" / f"scene_20190701_{band}.tif", values[number : number + 1], tile.affine)

    add(root, S2, tmp_path / "cogs")
    (tmp_path / "cogs" / "scene_20190701_B5.tif").unlink()

    np.testing.assert_array_equal(read_bands(root.shard(tile), TEN_BANDS), values[1:])
    with pytest.raises(DataError, match=r"scene_20190701 lacks B5 of Sentinel-2"):
        add(root, S2, tmp_path / "cogs")


METADATA = """<n1:Level-2A_User_Product><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
<BOA_ADD_OFFSET band_id="0">-1000</BOA_ADD_OFFSET><BOA_ADD_OFFSET band_id="1">-1000</BOA_ADD_OFFSET></n1>"""


def make_safe(folder: Path, tile: Tile, values: np.ndarray, *, metadata: str = METADATA) -> Path:
    """A SAFE folder of Sentinel-2 L2A: JPEG 2000 images of 10, 20 and 60 m, metadata."""
    native = {10: ("B2", "B3", "B4", "B8"), 20: ("B5", "B6", "B7", "B8A", "B11", "B12"), 60: ("B1",)}
    images = folder / "GRANULE" / "L2A_T32TNR_A020000_20220701T101031" / "IMG_DATA"
    for metres, bands in native.items():
        for band in bands:
            name = f"T32TNR_20220701T101031_{band if len(band) > 2 else band.replace('B', 'B0')}_{metres}m.jp2"
            step = metres // 10
            one = np.ascontiguousarray(values[S2_BANDS.index(band), ::step, ::step][None])
            write_raster(
                images / f"R{metres}m" / name, one, tile.affine @ Affine.scale(step),
                driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", YCBCR420="NO",
            )  # fmt: skip
    (folder / "MTD_MSIL2A.xml").write_text(metadata)
    return folder


def test_a_safe_folder_is_read_with_the_offset_of_its_metadata(tmp_path: Path) -> None:
    tile = own_tile(day=date(2022, 7, 1), size=48)
    root = lay_out_labels(tmp_path / "mine", [tile])
    values = s2_values(48, 48)
    name = "S2A_MSIL2A_20220701T101031_N0400_R022_T32TNR_20220701T162812.SAFE"
    make_safe(tmp_path / "scenes" / name, tile, values + np.uint16(1000))

    add(root, S2, tmp_path / "scenes")

    pixels = read_bands(root.shard(tile), S2_BANDS)
    for band in ("B2", "B3", "B4", "B8"):
        np.testing.assert_array_equal(pixels[S2_BANDS.index(band)], values[S2_BANDS.index(band)])
    # 20 m pixels: centres of the coarse pixels lie half a fine pixel off, so values there are means of neighbours.
    assert np.isfinite(pixels).all()
    tags = read_header(root.shard(tile)).tags
    assert (tags["S2_OFFSET"], tags["S2_SCENES"]) == ("1000", name)


def test_a_folder_of_top_of_atmosphere_is_refused(tmp_path: Path, root: DataRoot) -> None:
    (tmp_path / "S2A_MSIL1C_20190701T101031_N0207_R022_T32TNR_20190701T120000.SAFE").mkdir()

    with pytest.raises(DataError, match=r"is top-of-atmosphere reflectance \(L1C\); take the L2A product"):
        add(root, S2, *tmp_path.glob("*.SAFE"))


def test_a_mean_of_power_is_stored_in_decibel_with_its_number_of_scenes(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    decibel = s1_values(32, 32).astype(np.float64)
    write_raster(
        tmp_path / "m_20190701.tif", (10 ** (decibel / 10)).astype(np.float32), tile.affine, names=("VV", "VH")
    )
    radar = Radar("gamma0", "linear", 24, ("ASCENDING", "DESCENDING"))

    add(root, replace(S1, radar=radar, said=Said(power="linear")), tmp_path / "m_20190701.tif")

    pixels = read_bands(root.shard(tile), ("VV", "VH", "S1_N"))
    np.testing.assert_allclose(pixels[:2], (decibel + 100) * 100, atol=0.51)
    assert (pixels[2] == 24).all()
    assert root.radars() == (radar,)


def test_the_training_store_says_how_sentinel_1_was_made(tmp_path: Path, root: DataRoot, stacks: Path) -> None:
    gamma = Radar("gamma0", "none", 1, ("ASCENDING",))
    add(root, replace(BOTH, radar=gamma), stacks)
    build_added(root, run=in_process, progress=Silent())

    write_store(root, run=in_process)

    about = zarr.open_group(root.store, mode="r")["s1"].attrs
    assert about["long_name"] == "gamma0, one date, ascending pass"


def test_a_label_of_a_period_takes_a_file_of_any_day_in_it(tmp_path: Path) -> None:
    tile = own_tile(day=date(2022, 1, 1))
    root = lay_out_labels(tmp_path / "mine", [tile], periods={tile.id: "2022-01-01/2022-12-31"})

    add(root, replace(S2, days=0), write_s2(tmp_path / "a_20220815.tif", tile))

    assert read_header(root.shard(tile)).tags["S2_DAYS"] == "0"


def test_a_folder_with_a_space_is_quoted_where_a_command_names_it(tmp_path: Path, stacks: Path) -> None:
    with pytest.raises(DataError) as caught:
        add(DataRoot.at(tmp_path / "my data"), S2, stacks)

    assert str(caught.value).endswith(f"add them first: dwplus labels add ... --data '{tmp_path}/my data'")


# --- what is refused --------------------------------------------------------------------------------------------------


def test_sentinel_1_of_another_kind_is_refused_or_accepted_and_recorded(
    root: DataRoot, stacks: Path, tiles: list[Tile]
) -> None:
    add(root, BOTH, stacks)
    gamma = replace(S1, radar=Radar("gamma0", "none", 1, ("ASCENDING",)))
    path = sorted(stacks.glob("s1_*"))[0]

    with pytest.raises(UsageError, match=r"another Sentinel-1: gamma0, one date, ascending pass instead of sigma0"):
        add(root, gamma, path)
    added = add(root, replace(gamma, accept_s1=True), path)

    difference = "s1: gamma0, one date, ascending pass instead of sigma0, one date, ascending pass"
    assert added.accepted == (difference,)
    assert [one.accepted for one in root.added_pixels().inputs] == [(), (difference,)]  # type: ignore[union-attr]
    assert read_header(root.shard(tiles[0])).tags["S1_CALIBRATION"] == "gamma0"
    assert titles_of(root, tiles[0])["VV"] == "gamma0, vertical transmit, vertical receive"
    assert titles_of(root, tiles[1])["VH"] == "sigma0, vertical transmit, horizontal receive"
    assert len(root.radars()) == 2


def test_composites_are_recorded_and_do_not_stand_beside_single_scenes(root: DataRoot, stacks: Path) -> None:
    s2, s1 = (sorted(stacks.glob(f"s{sensor}_*")) for sensor in (2, 1))
    assert root.composite() is None
    add(root, replace(S2, composite="median"), *s2[:3])

    for other in (S2, replace(S2, composite="medoid")):
        with pytest.raises(UsageError, match=r"holds median composites of Sentinel-2, this would add (single|medoid)"):
            add(root, other, s2[3])
    with pytest.raises(UsageError, match="--composite is about Sentinel-2"):
        add(root, replace(S1, composite="median"), *s1)
    add(root, S1, *s1)
    add(root, replace(S2, composite="median"), s2[3])

    assert root.composite() == "median"
    build_added(root, run=in_process, progress=Silent())
    assert "Sentinel-2: surface reflectance of median composites, as declared" in root.card_file.read_text()
    assert Dataset(root, split="train").composite == "median"
    assert Dataset(root, split="train", primary=("VV",), auxiliary=()).composite is None


def test_sentinel_2_that_comes_after_sentinel_1_may_be_composites(root: DataRoot, stacks: Path) -> None:
    add(root, S1, *stacks.glob("s1_*"))

    add(root, replace(S2, composite="medoid"), *stacks.glob("s2_*"))

    assert root.composite() == "medoid"


def titles_of(root: DataRoot, tile: Tile) -> dict[str, str]:
    with rasterio.open(root.own_shard(tile)) as file:
        return {name: file.tags(number)["TITLE"] for number, name in enumerate(file.descriptions, start=1)}


def test_pixels_of_another_source_or_resampling_do_not_stand_beside(root: DataRoot, stacks: Path) -> None:
    add(root, BOTH, stacks)

    with pytest.raises(UsageError, match=r"holds pixels of user:own, this would add user:other"):
        add(root, replace(S2, source=Source.added_as("other")), stacks)
    with pytest.raises(UsageError, match=r"resampled by bilinear, this would add some by nearest"):
        add(root, replace(S2, resampling="nearest"), stacks)


def test_a_root_without_labels_is_sent_to_labels(tmp_path: Path, stacks: Path) -> None:
    with pytest.raises(DataError, match=r"holds no labels yet; add them first: dwplus labels add"):
        add(DataRoot.at(tmp_path / "new"), S2, stacks)


def damaged(tmp_path: Path, tile: Tile) -> dict[str, tuple[Addition, Path, str]]:
    """Kind of bad input -> addition, file, what the error says."""
    s2, s1 = s2_values(32, 32), s1_values(32, 32)
    bright = np.random.default_rng(0).integers(1030, 4000, s2.shape).astype(np.uint16)
    power = (10 ** (s1 / 10)).astype(np.float32)
    numbers = itertools.count()

    def made(values: np.ndarray, names: tuple[str, ...] = S2_BANDS, **changes: Any) -> Path:
        path = tmp_path / str(next(numbers)) / "x_20190701.tif"
        return write_raster(path, values, tile.affine, **{"names": names, "crs": tile.crs, **changes})

    radar = ("VV", "VH")
    filled = np.where(np.arange(32) < 9, -999, s1).astype(np.float32)
    return {
        "a band named twice": (S2, made(s2, (*S2_BANDS[:-1], "B11")), "names B11 twice (bands 10 and 11)"),
        "a missing band": (S2, made(s2[:9], S2_BANDS[:9]), "lacks B11, B12 of Sentinel-2"),
        "no names": (S2, made(s2, ()), "does not name its bands; say with --bands which is which"),
        "a class map": (S2, made(s2[:1], ("lulc",)), "holds lulc alone; name the files that hold Sentinel-2"),
        "the offset is in": (S2, made(bright), "the +1000 of baseline 04.00 is still in; say --offset 1000"),
        "the offset was out": (replace(S2, said=Said(offset=1000)), made(s2), "is below 0: was 1000 subtracted"),
        "another scale": (replace(S2, said=Said(scale=1)), made(s2), "a median reflectance of"),
        "dB called power": (replace(S1, said=Said(power="linear")), made(s1, radar), "dB, not power; say --s1-unit dB"),
        "power called dB": (S1, made(power, radar), "linear power, not dB; say --s1-unit linear"),
        "complex": (S1, made(s1.astype(np.complex64), radar), "holds complex values (complex64)"),
        "bytes": (S2, made((s2 // 16).astype(np.uint8)), "holds uint8: an 8-bit picture or a class map"),
        "radar DN": (S1, made((power * 1000).astype(np.uint16), radar), "amplitude or DN, not calibrated"),
        "no CRS": (S2, made(s2, crs=None), "has no CRS: its place is unknown"),
        "another CRS": (S2, made(s2, crs="EPSG:32732"), "overlaps a tile: x_20190701.tif lies at lon, lat 9.00, -45"),
        "a fill value": (S1, made(filled, radar), "say --nodata VALUE"),
        "no pixels of L2A": (S2, made(np.concatenate([s2, s2[:1]]), (*S2_BANDS, "B10")), "take the L2A product"),
    }


KINDS = (
    "a band named twice", "a missing band", "no names", "a class map", "the offset is in", "the offset was out",
    "another scale", "dB called power", "power called dB", "complex", "bytes", "radar DN", "no CRS", "another CRS",
    "a fill value", "no pixels of L2A",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(tmp_path: Path, kind: str) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    addition, path, message = damaged(tmp_path / "bad", tile)[kind]

    with pytest.raises(DataError) as error:
        add(root, addition, path)

    assert message in str(error.value)
    assert "x_20190701.tif" in str(error.value)
    assert "\n" not in str(error.value)
    assert not root.added_file.exists()
    assert not root.shards.exists()


def test_other_bad_input_is_refused_too(tmp_path: Path, root: DataRoot, tiles: list[Tile]) -> None:
    undated = write_s2(tmp_path / "undated" / "stack.tif", tiles[0])
    with pytest.raises(DataError, match=r"stack.tif has no date in its name or tags"):
        add(root, S2, undated)
    with pytest.raises(UsageError, match=r"nothing.tif does not exist"):
        add(root, S2, tmp_path / "nothing.tif")
    (tmp_path / "scene.zip").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"scene.zip is an archive; unpack it first"):
        add(root, S2, tmp_path / "scene.zip")
    (tmp_path / "page_20190701.tif").write_text("<html>Too many requests</html>")
    with pytest.raises(DataError, match=r"page_20190701.tif is not a readable raster"):
        add(root, S2, tmp_path / "page_20190701.tif")
    with pytest.raises(UsageError, match=r"Sentinel-1 has to say how it was made"):
        add(root, replace(S1, radar=None), undated)


def test_a_bright_ground_is_accepted_where_its_user_says_so(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    bright = np.random.default_rng(0).integers(1030, 4000, (11, 32, 32)).astype(np.uint16)
    path = write_raster(tmp_path / "desert_20190701.tif", bright, tile.affine, names=S2_BANDS)

    add(root, replace(S2, accept_offset=True), path)

    assert "offset" in root.added_pixels().inputs[0].accepted[0]  # type: ignore[union-attr]
    np.testing.assert_array_equal(read_bands(root.shard(tile), S2_BANDS), bright)


def test_a_damaged_file_and_a_band_of_one_value_cost_their_tiles_alone(
    root: DataRoot, stacks: Path, tiles: list[Tile]
) -> None:
    path = stacks / "s2_2_20190703.tif"
    write_s2(path, tiles[2], compress="zstd")
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    stuck = s2_values(40, 40)
    stuck[3] = 777
    around = tiles[1].affine @ Affine.translation(-4, -4)
    write_raster(stacks / "s2_1_20190703.tif", stuck, around, names=S2_BANDS)

    added = add(root, BOTH, stacks)

    assert dict(added.states) == {"done": 2, "bad_pixels": 2}
    rows = root.ledger()
    assert rows[tiles[2].id].detail.startswith("s2_2_20190703.tif is damaged")
    assert "band B4 holds one value only" in rows[tiles[1].id].detail


# --- real files -------------------------------------------------------------------------------------------------------


def test_real_sentinel_2_on_a_released_label(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "dynamic_world_tiles"
    name = "dw_-2.7415152153_5.6549699454-20181226"
    with rasterio.open(folder / f"{name}.tif") as label, rasterio.open(folder / f"{name}.s2_l2a.tif") as stack:
        tile = Tile(
            "pra-32630-526080-627620-20181226", "EPSG:32630", tuple(label.transform)[:6], label.shape,
            date(2018, 12, 26), "EH", 0,
        )  # fmt: skip
        codes = label.read(1)
        expected = stack.read([stack.descriptions.index(band) + 1 for band in S2_BANDS])
    root = lay_out_labels(tmp_path / "mine", [tile], codes=[codes])

    add(root, S2, folder / f"{name}.s2_l2a.tif")
    result = build_added(root, run=in_process, progress=Silent())

    np.testing.assert_array_equal(read_bands(root.shard(tile), S2_BANDS), np.maximum(expected, expected > 0))
    assert not result.broken


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s1_grd_raw_gcps_no_crs.tif", "has no CRS, only 210 ground control points: raw radar"),
        ("jp2_named_tif.tif", "has no CRS"),
        ("DERIVED_missing_B11_B12.tif", "lacks B11, B12 of Sentinel-2"),
        ("DERIVED_zero_bytes.tif", "is not a readable raster"),
        ("DERIVED_html_error_page.tif", "is not a readable raster"),
        ("rasterio_all_nodata.tif", "holds blue, green, red, nir alone"),
        ("gee_togo_206bands_epsg4326.tif", "holds B10, which only top-of-atmosphere reflectance"),
    ],
)
def test_real_files_that_are_no_stack_are_refused(real_data: Path, root: DataRoot, name: str, message: str) -> None:
    addition = replace(S2, dates=Dates(said=date(2019, 7, 1)))

    with pytest.raises(DataError) as error:
        add(root, addition, real_data / "odd_files" / name)

    assert message in str(error.value)
