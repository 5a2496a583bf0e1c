"""Splits at the edges of the world: the 409 test tiles, zones that meet, the antimeridian."""

from dataclasses import replace

import pytest
import shapely
from dwplus.manifests import load_csv
from dwplus.pipeline.dataset.manifest import ManifestRow, Release
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.spec.test_tiles import known_test_tiles
from dwplus.pipeline.spec.tiles import Tile
from support.tiles import make_tile, tile_at

# --- the 409 released test tiles --------------------------------------------------------------------------------------


def as_row(tile: Tile, release: Release = "train") -> ManifestRow:
    labeler = "consensus" if release == "test" else "expert"
    return ManifestRow(tile, labeler, release, f"labels/{labeler}/{tile.id}.tif", "0" * 64, 0.9)


def moved(tile: Tile, *, metres: float, tile_id: str) -> Tile:
    a, b, x, d, e, y = tile.transform
    return replace(tile, id=tile_id, transform=(a, b, x + metres, d, e, y))


def test_a_training_tile_with_the_name_of_a_test_tile_is_discarded_wherever_its_grid_lies() -> None:
    # Given all 409 released names, as training tiles on a grid in Italy, and no test archive.
    ids = [known["dw_id"] for known in load_csv("test_409")]
    rows = [as_row(make_tile(tile_id, x=500000.0 + 6000 * n, size=510)) for n, tile_id in enumerate(ids)]

    assert {row.discard for row in make_manifest(rows).rows} == {"test_overlap"}


@pytest.mark.parametrize("fetched", [False, True])
def test_a_training_tile_on_any_of_the_409_is_discarded_and_one_beside_it_is_not(fetched: bool) -> None:
    # Given, for each test tile, a training tile half a tile further east and one that touches its other side.
    tests = known_test_tiles()
    sharing = [moved(tile, metres=2550, tile_id=f"dw_1.0_{n}.0-20190701") for n, tile in enumerate(tests)]
    touching = [moved(tile, metres=-5100, tile_id=f"dw_2.0_{n}.0-20190701") for n, tile in enumerate(tests)]
    there = [as_row(tile, "test") for tile in tests] if fetched else []

    manifest = make_manifest([*there, *map(as_row, sharing), *map(as_row, touching)])

    discarded = {row.tile.id for row in manifest.rows if row.discard}
    assert discarded >= {tile.id for tile in sharing}
    # Some released test tiles lie so close together that the neighbour of one lies on another.
    squares = [shapely.Polygon(tile.outline).buffer(-1e-4) for tile in tests]
    tree = shapely.STRtree(squares)
    crowded = {tile.id for tile in touching if len(tree.query(shapely.Polygon(tile.outline), "intersects"))}
    assert {tile.id for tile in touching} & discarded == crowded
    assert len(crowded) < 20


def test_a_leak_is_seen_across_zones_and_across_the_antimeridian() -> None:
    # Given test tiles on the border of zones 32 and 33 and on the antimeridian, and training tiles in the next zone.
    tests = [as_row(tile_at(12.0, 60.0, zone=32), "test"), as_row(tile_at(179.99, 66.0, zone=60), "test")]
    leaking = [tile_at(12.03, 60.0, zone=33), tile_at(-179.99, 66.0, zone=1)]
    clean = [tile_at(12.2, 60.0, zone=33), tile_at(-179.8, 66.0, zone=1), tile_at(0.5, 66.0, zone=31)]

    manifest = make_manifest([*tests, *map(as_row, leaking), *map(as_row, clean)])

    assert {r.tile.id for r in manifest.rows if r.discard} == {tile.id for tile in leaking}


# --- validation at the antimeridian -----------------------------------------------------------------------------------


def test_validation_blocks_never_part_tiles_that_share_ground_over_the_antimeridian() -> None:
    # Given, in every other row of blocks from 70S to 83N, a pair of tiles at 179.99E and 179.99W that overlap, a pair
    # that does not, and 28 tiles elsewhere.
    together, apart = [], []
    for lat in range(-70, 83, 4):
        near = [tile_at(179.99, lat + 0.5, zone=60), tile_at(-179.99, lat + 0.5, zone=1)]
        far = [tile_at(179.5, lat + 1.5, zone=60), tile_at(-179.5, lat + 1.5, zone=1)]
        elsewhere = [tile_at(-171.0 + 12 * n, lat + 0.5) for n in range(28)]

        manifest = make_manifest(map(as_row, [*near, *far, *elsewhere]))

        splits = {row.tile.id: row.split_strict for row in manifest.rows}
        together.append({splits[tile.id] for tile in near})
        apart.append({splits[tile.id] for tile in far})

    # Then the first pair is drawn as one, now for one split and now for the other; the second also comes apart.
    assert {"train"} in together
    assert {"val"} in together
    assert {"train", "val"} not in together
    assert {"train", "val"} in apart
