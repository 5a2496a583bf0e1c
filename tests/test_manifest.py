"""The manifest: one row per tile, splits that do not leak, choices that cover the world."""

from pathlib import Path

import pytest
from conftest import make_tile
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.manifest import (
    Manifest,
    ManifestRow,
    Release,
    make_manifest,
    read_manifest,
    select,
    write_manifest,
)


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


def test_a_manifest_survives_writing_and_opens_in_geopandas(tmp_path: Path) -> None:
    import geopandas

    manifest = make_manifest([row(1), row(2, release="test", labeler="consensus", zone=40)])
    path = write_manifest(tmp_path, manifest)

    assert read_manifest(tmp_path) == manifest
    assert read_manifest(tmp_path).hash == manifest.hash
    frame = geopandas.read_parquet(path)
    assert frame.crs.to_epsg() == 4326
    assert frame.geometry.iloc[0].contains(frame.geometry.iloc[0].centroid)
    assert frame.region.tolist() == ["eastern-hemisphere-1", "eastern-hemisphere-1"]


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


def test_the_hash_follows_every_row() -> None:
    assert Manifest((row(1),)).hash != Manifest((row(2),)).hash
