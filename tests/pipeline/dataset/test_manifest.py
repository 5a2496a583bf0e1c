"""The manifest: one row per tile, splits that do not leak, choices that cover the world."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pyproj
import pytest
import shapely
from dwplus.pipeline.dataset.manifest import (
    Manifest,
    ManifestRow,
    Release,
    geometries_of,
    manifest_csv,
    read_manifest,
    select,
    write_manifest,
)
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.spec.tiles import Tile
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.affinity import translate
from support.tiles import make_tile, tile_at


def row(
    number: int = 0,
    *,
    labeler: str = "expert",
    release: Release = "train",
    x: float = 500000.0,
    zone: int = 32,
    biome: int = 4,
) -> ManifestRow:
    tile = make_tile(f"dw_{number}.0_45.0-20190701", x=x, size=510, crs=f"EPSG:{32600 + zone}", biome=biome)
    return ManifestRow(tile, labeler, release, f"labels/{labeler}/{tile.id}.tif", "0" * 64, 0.9)


def test_an_expert_is_preferred_over_a_non_expert() -> None:
    manifest = make_manifest([row(labeler="non_expert"), row(labeler="expert")])

    assert [r.labeler for r in manifest.rows] == ["expert"]


def test_a_training_tile_that_overlaps_a_test_tile_is_discarded_but_a_neighbour_is_not() -> None:
    # Given a test tile, a training tile that shares one pixel column with it, and one that only touches it.
    test = row(1, release="test", labeler="consensus", x=500000.0)
    overlapping = row(2, x=500000.0 + 5090.0)
    touching = row(3, x=500000.0 - 5100.0)

    manifest = make_manifest([test, overlapping, touching])

    assert {r.tile.id: r.discard for r in manifest.rows} == {
        test.tile.id: "",
        overlapping.tile.id: "test_overlap",
        touching.tile.id: "",
    }


def test_a_training_tile_that_overlaps_a_known_test_tile_is_discarded_even_if_that_tile_is_not_here() -> None:
    # dw_9.6... lies elsewhere; this centre is that of the released test tile dw_-0.5169602165_51.4043077942-20170409.
    tile = make_tile("dw_-0.51_51.40-20190701", crs="EPSG:32630", x=670000.0, y=5700000.0, size=510)
    leaking = ManifestRow(tile, "expert", "train", "labels/x.tif", "0" * 64, 0.9)

    assert make_manifest([leaking]).rows[0].discard == "test_overlap"


def test_validation_tiles_are_whole_blocks_and_never_all() -> None:
    # Given 40 training tiles in 40 blocks, two tiles each 6 km apart.
    rows = [row(10 * zone + k, zone=zone, x=500000.0 + 6000.0 * k) for zone in range(1, 41) for k in (0, 1)]

    manifest = make_manifest(rows)

    by_zone = {z: {r.split_strict for r in manifest.rows if r.tile.crs == f"EPSG:{32600 + z}"} for z in range(1, 41)}
    assert all(len(splits) == 1 for splits in by_zone.values())
    assert 4 <= sum(splits == {"val"} for splits in by_zone.values()) <= 5
    assert {r.split_paper for r in manifest.rows} == {"train"}
    assert {r.split_strict for r in make_manifest([row()]).rows} == {"train"}


def test_tiles_that_share_ground_across_the_edge_of_a_block_stay_together() -> None:
    # Given pairs of tiles that overlap by half, one on each side of a block's edge, in 30 places.
    rows = []
    for zone in range(1, 31):
        # The central meridian of a zone is odd: 6 zone - 183; the edge one degree east of it lies 78.8 km away.
        for k, x in enumerate((578846.0 - 2550 - 1275, 578846.0 - 1275)):
            rows.append(row(10 * zone + k, zone=zone, x=x))
    blocks = {(r.tile.crs, int(r.tile.centre[0] // 2)) for r in rows}
    assert len(blocks) == 60, "the pairs lie on both sides of an edge"

    manifest = make_manifest(rows)

    by_zone = {z: {r.split_strict for r in manifest.rows if r.tile.crs == f"EPSG:{32600 + z}"} for z in range(1, 31)}
    assert all(len(splits) == 1 for splits in by_zone.values())
    assert {"train", "val"} <= {next(iter(s)) for s in by_zone.values()}


def test_a_released_tile_that_is_also_given_by_hand_stays_in_its_split() -> None:
    manifest = make_manifest([row(1, labeler="expert", release="inspect"), row(1, labeler="non_expert")])

    assert [(r.labeler, r.release) for r in manifest.rows] == [("non_expert", "train")]


def test_under_the_papers_protocol_the_test_tiles_also_validate() -> None:
    manifest = make_manifest([row(1), row(2, release="test", labeler="consensus", zone=40)])

    assert [r.tile.id for r in manifest.of_split("val", "paper")] == ["dw_2.0_45.0-20190701"]
    assert [r.tile.id for r in manifest.of_split("test", "strict")] == ["dw_2.0_45.0-20190701"]


def test_a_limit_takes_biomes_in_turn_and_always_the_same_tiles() -> None:
    rows = [row(100 * biome + k, biome=biome, zone=k + 1) for biome in (1, 2, 3) for k in range(20)]

    few = select(rows, limit=9)

    assert {b: sum(r.tile.biome == b for r in few) for b in (1, 2, 3)} == {1: 3, 2: 3, 3: 3}
    assert select(list(reversed(rows)), limit=9) != ()
    assert {r.tile.id for r in select(list(reversed(rows)), limit=9)} == {r.tile.id for r in few}


def test_choices_narrow_and_an_empty_choice_is_an_error() -> None:
    manifest = make_manifest([row(1, zone=10), row(2, zone=32, biome=7), row(3, release="test", zone=33)])

    assert [r.tile.id for r in select(manifest.rows, region="western-hemisphere")] == ["dw_1.0_45.0-20190701"]
    assert [r.tile.id for r in select(manifest.rows, biomes=frozenset({7}))] == ["dw_2.0_45.0-20190701"]
    assert [r.tile.id for r in select(manifest.rows, splits=frozenset({"test"}))] == ["dw_3.0_45.0-20190701"]
    with pytest.raises(UsageError, match="no tile is left of 3: region all, biome 14, split all"):
        select(manifest.rows, biomes=frozenset({14}))


def test_a_missing_manifest_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run 'dwplus build' first"):
        read_manifest(tmp_path)


def at_date_line(x: float, *, zone: int = 60, number: int = 0, release: Release = "train") -> ManifestRow:
    """A tile at 65 degrees north whose western edge lies at x metres of its zone (60: 641,550 m is 180 degrees)."""
    tile = make_tile(f"dw_{number}.0_65.0-20190701", x=x, y=7215000.0, size=510, crs=f"EPSG:{32600 + zone}")
    return ManifestRow(tile, "expert", release, f"labels/{number}.tif", f"{number:064}", 0.9)


def test_a_tile_over_the_date_line_is_cut_in_two_and_not_drawn_around_the_globe(tmp_path: Path) -> None:
    import geopandas

    over, beside = at_date_line(639000.0, number=1), at_date_line(600000.0, number=2)
    frame = geopandas.read_parquet(write_manifest(tmp_path, make_manifest([over, beside])))

    assert frame.geometry.geom_type.tolist() == ["MultiPolygon", "Polygon"]
    west, east = sorted(frame.geometry.iloc[0].geoms, key=lambda part: part.bounds[0])
    assert west.bounds[0] == -180
    assert west.bounds[2] < -179.9
    assert east.bounds[2] == 180
    assert east.bounds[0] > 179.9
    assert shapely.area(frame.geometry.array).max() < 0.01  # square degrees; a belt around the globe has tens
    assert read_manifest(tmp_path).rows[0].tile.region == over.tile.region


@pytest.mark.parametrize(("metres", "leaks"), [(0.0, True), (5000.0, True), (5700.0, False)])
def test_ground_is_shared_across_the_date_line_too(metres: float, leaks: bool) -> None:
    # Given a test tile on the line, on the grid of zone 60, and a training tile further east on that of zone 1, which
    # is turned against it by 5 degrees there.
    test = at_date_line(639000.0, number=1, release="test")
    lon, lat = test.tile.centre
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32601", always_xy=True).transform(lon, lat)
    near = make_tile("dw_2.0_65.0-20190701", x=x - 2550 + metres, y=y + 2550, size=510, crs="EPSG:32601")
    training = ManifestRow(near, "expert", "train", "labels/2.tif", "2" * 64, 0.9)

    manifest = make_manifest([test, training])

    assert {r.tile.id: r.discard for r in manifest.rows}[near.id] == ("test_overlap" if leaks else "")


def test_the_same_numbers_stand_in_the_csv(tmp_path: Path) -> None:
    manifest = make_manifest([row(1), at_date_line(639000.0, number=2)])

    first, second = csv.DictReader(io.StringIO(manifest_csv(manifest)))

    assert (first["dw_id"], first["date"], first["split_strict"]) == ("dw_1.0_45.0-20190701", "2019-07-01", "train")
    assert first["transform"] == "10 0 500000 0 -10 5000000"
    assert first["geometry"].startswith("POLYGON ((9")
    assert second["geometry"].startswith("MULTIPOLYGON (((")


def test_the_hash_follows_every_row() -> None:
    assert Manifest((row(1),)).hash != Manifest((row(2),)).hash


# --- the file ---------------------------------------------------------------------------------------------------------


def as_row(tile: Tile) -> ManifestRow:
    return ManifestRow(tile, "expert", "train", f"labels/expert/{tile.id}.tif", "0" * 64, 0.9)


@pytest.fixture
def world() -> Manifest:
    """A tile in Italy, one on the antimeridian in Fiji, one at 82.9 degrees north, and a test tile."""
    tiles = [row(1).tile, tile_at(179.99, -17.0), tile_at(-35.0, 82.9)]
    return make_manifest([*map(as_row, tiles), row(2, release="test", labeler="consensus", zone=40)])


def test_a_manifest_survives_writing(world: Manifest, tmp_path: Path) -> None:
    write_manifest(tmp_path, world)

    again = read_manifest(tmp_path)

    assert again == world
    assert again.hash == Manifest(world.rows).hash
    assert Manifest(again.rows).hash == world.hash
    # What was not projected again is what projecting gives.
    assert [r.tile.centre for r in again.rows] == [replace(r.tile).centre for r in world.rows]


def test_an_empty_manifest_survives_writing(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(()))

    assert read_manifest(tmp_path) == Manifest(())


def test_two_writings_give_the_same_bytes(world: Manifest, tmp_path: Path) -> None:
    one, two = write_manifest(tmp_path / "one", world), write_manifest(tmp_path / "two", Manifest(world.rows))

    assert one.read_bytes() == two.read_bytes()


def test_the_file_follows_the_rules_of_geoparquet(world: Manifest, tmp_path: Path) -> None:
    # Source: GeoParquet 1.0.0, "File metadata" and "Column metadata"; read with pyarrow and shapely alone.
    table = parquet.read_table(write_manifest(tmp_path, world))
    geo = json.loads(table.schema.metadata[b"geo"])

    assert (geo["version"], geo["primary_column"], list(geo["columns"])) == ("1.0.0", "geometry", ["geometry"])
    column = geo["columns"]["geometry"]
    assert table.schema.field("geometry").type == pyarrow.binary()
    assert column["encoding"] == "WKB"
    assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 4326
    shapes = shapely.from_wkb(table.column("geometry").to_pylist())
    assert set(column["geometry_types"]) == {shape.geom_type for shape in shapes} == {"Polygon", "MultiPolygon"}
    assert column["bbox"] == shapely.total_bounds(shapes).tolist()
    assert column["edges"] == "planar"
    assert column["orientation"] == "counterclockwise"
    assert all(shapely.is_valid(shapes))
    assert all(part.exterior.is_ccw for shape in shapes for part in getattr(shape, "geoms", [shape]))
    # Each lies around the centre that its row names, in degrees of longitude and latitude, and is small.
    for shape, lon, lat in zip(shapes, table["lon"].to_pylist(), table["lat"].to_pylist(), strict=True):
        assert shape.covers(shapely.Point(lon, lat))
        assert sum(part.bounds[2] - part.bounds[0] for part in getattr(shape, "geoms", [shape])) < 0.5


def test_columns_have_the_types_of_what_they_hold(world: Manifest, tmp_path: Path) -> None:
    schema = parquet.read_schema(write_manifest(tmp_path, world))
    types = {field.name: str(field.type) for field in schema}

    assert types["date"] == "date32[day]"
    assert {types[name] for name in ("height", "width", "biome")} == {"int32"}
    assert {types[name] for name in ("lon", "lat", "marked_share")} == {"double"}
    assert types["transform"] == "list<element: double>"
    assert {types[name] for name in ("dw_id", "crs", "region", "labeler", "split_strict", "discard")} == {"string"}


def test_the_file_opens_in_geopandas(world: Manifest, tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")

    frame = geopandas.read_parquet(write_manifest(tmp_path, world))

    assert frame.crs.to_epsg() == 4326
    assert frame.dw_id.tolist() == [r.tile.id for r in world.rows]
    assert frame.region.tolist() == [r.tile.region for r in world.rows]
    # Back in its own CRS the polygon is the tile's square of 5.1 km.
    italy = frame[frame.dw_id == "dw_1.0_45.0-20190701"]
    assert italy.to_crs("EPSG:32632").area.item() == pytest.approx(5100**2, rel=1e-5)


def test_the_file_opens_in_gdal(world: Manifest, tmp_path: Path) -> None:
    # QGIS reads vectors with GDAL.
    pyogrio = pytest.importorskip("pyogrio")
    path = write_manifest(tmp_path, world)
    if "Parquet" not in pyogrio.list_drivers():
        pytest.skip("this GDAL was built without its Parquet driver")

    info = pyogrio.read_info(path)

    assert (info["features"], info["crs"]) == (4, "EPSG:4326")


def test_the_csv_opens_in_gdal_and_says_the_same(world: Manifest, tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    path = tmp_path / "manifest.csv"
    path.write_text(manifest_csv(world))

    table = parquet.read_table(write_manifest(tmp_path, world))
    frame = pyogrio.read_dataframe(path, GEOM_POSSIBLE_NAMES="geometry", KEEP_GEOM_COLUMNS="NO", AUTODETECT_TYPE="YES")

    assert [*frame.columns.drop("geometry"), "geometry"] == table.column_names
    assert frame.dw_id.tolist() == table["dw_id"].to_pylist()
    assert frame.lon.tolist() == table["lon"].to_pylist()
    assert [list(map(float, text.split())) for text in frame["transform"]] == table["transform"].to_pylist()
    shapes = shapely.from_wkb(table.column("geometry").to_pylist())
    assert shapely.equals_exact(frame.geometry.to_numpy(), shapes, tolerance=1e-8).all()


def edited(path: Path, **columns: list[object]) -> None:
    """Change columns of a file as somebody would with pyarrow: everything else, metadata included, stays."""
    table = parquet.read_table(path)
    for name, values in columns.items():
        position = table.column_names.index(name)
        table = table.set_column(position, table.schema.field(name), [values])
    parquet.write_table(table, path)


@pytest.mark.parametrize("column", ["split_strict", "discard", "region", "lon", "geometry"])
def test_a_file_that_was_changed_by_hand_is_refused(column: str, world: Manifest, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, world)
    values = parquet.read_table(path)[column].to_pylist()

    edited(path, **{column: values[1:] + values[:1]} if len(set(values)) > 1 else {column: ["test_overlap"] * 4})

    with pytest.raises(DataError, match=r"changed by something else than dwplus.*run 'dwplus build' again"):
        read_manifest(tmp_path)


def test_a_file_that_went_through_another_program_is_refused(world: Manifest, tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    path = write_manifest(tmp_path, world)

    geopandas.read_parquet(path).to_parquet(path)

    with pytest.raises(DataError, match="by something else, or by an older dwplus"):
        read_manifest(tmp_path)


def test_a_file_of_a_later_format_and_a_torn_one_are_refused(world: Manifest, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, world)
    table = parquet.read_table(path)
    metadata = {**table.schema.metadata, b"dwplus": b'{"version": 4, "hash": "", "places": ""}'}
    parquet.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(DataError, match="has format 4, this dwplus reads 3"):
        read_manifest(tmp_path)

    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"manifest.parquet cannot be read"):
        read_manifest(tmp_path)


def test_the_hash_is_the_same_for_whole_numbers_and_their_floats(tmp_path: Path) -> None:
    tile = replace(row(1).tile, transform=(10, 0, 500000, 0, -10, 5000000))

    assert Manifest((as_row(tile),)).hash == Manifest((as_row(row(1).tile),)).hash


# --- geometries at the date line --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lat", [-45.0, 0.0, 60.0, 71.0, 82.9])
def test_both_parts_of_a_cut_tile_together_have_its_ground(lat: float) -> None:
    # Given a tile whose centre lies 500 m west of the date line.
    (shape,) = geometries_of([tile_at(180.0 - 500 / (111_320 * math.cos(math.radians(lat))), lat)])

    # Then the western part reaches 2,550 + 500 m of its 5,100, less or more by how the tile is turned, and both
    # together are 5.1 x 5.1 km, but for the zone's scale.
    west, east = sorted(shape.geoms, key=lambda part: part.bounds[0], reverse=True)
    assert (west.bounds[2], east.bounds[0]) == (180.0, -180.0)
    km2 = [abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(part)[0]) / 1e6 for part in (west, east)]
    assert sum(km2) == pytest.approx(26.01, rel=4e-3)
    assert km2[0] / 26.01 == pytest.approx(3050 / 5100, abs=0.005)


@settings(max_examples=60, deadline=None)
@given(lon=st.floats(179.9, 180.1), lat=st.floats(-60, 83))
def test_a_tile_that_was_cut_and_put_together_is_the_tile(lon: float, lat: float) -> None:
    tile = tile_at(lon if lon < 180 else lon - 360, lat)
    whole = shapely.Polygon(tile.outline)

    (shape,) = geometries_of([tile])

    assert -180 <= shape.bounds[0] < shape.bounds[2] <= 180
    # Each part goes back to the side on which the outline has it.
    parts = [
        translate(part, 360 * round((whole.centroid.x - part.centroid.x) / 360))
        for part in getattr(shape, "geoms", [shape])
    ]
    assert shapely.union_all(parts).symmetric_difference(whole).area < 1e-9
