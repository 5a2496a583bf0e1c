"""Checks of a manifest: one example of each thing that can be wrong, and a sound manifest without findings."""

from dataclasses import replace
from datetime import date

import pytest
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.spec.overlaps import shared_ground
from dwplus.pipeline.spec.test_tiles import known_test_tiles
from dwplus.pipeline.spec.tiles import TileId, parse_tile_id
from dwplus.pipeline.validation.manifest_checks import check_manifest
from support.tiles import make_tile

TODAY = date(2026, 11, 25)


def row(number: int = 0, **changes: object) -> ManifestRow:
    """A sound row; each number is 0.1 degrees further north in zone 32."""
    lat = 45.0 + number / 10
    tile = make_tile(
        f"dw_9.0324_{lat:.4f}-20190701", x=500000.0, y=4985500.0 + 11113.0 * number, size=510, day=date(2019, 7, 1)
    )
    sound = ManifestRow(tile, "expert", "train", f"labels/{number}.tif", f"{number:064}", 0.9, split_strict="train",
                        split_paper="train")  # fmt: skip
    return replace(sound, **changes)


def rules(*rows: ManifestRow) -> list[tuple[str, str]]:
    return [(finding.rule, finding.severity) for finding in check_manifest(rows, today=TODAY)]


def moved(original: ManifestRow, **changes: object) -> ManifestRow:
    return replace(original, tile=replace(original.tile, **changes))


def test_a_sound_manifest_has_no_findings() -> None:
    assert rules(*(row(number) for number in range(5))) == []


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (row(1, label_sha256=row(0).label_sha256), ("duplicate-label", "warning")),
        (moved(row(0), id="dw_9.0325_45.0001-20190701"), ("duplicate-ground", "error")),
        (
            moved(row(0), id="dw_9.0325_45.0001-20190701", transform=(10.0, 0.0, 500010.0, 0.0, -10.0, 4985500.0)),
            ("duplicate-ground", "error"),
        ),
        (row(1, marked_share=0.0), ("unmarked", "error")),
        (row(1, marked_share=0.11), ("unmarked", "warning")),
        (row(1, discard="test_overlap"), ("test-overlap", "warning")),
        (moved(row(1), hemisphere="WH"), ("hemisphere", "warning")),
        (moved(row(1), biome=0), ("biome", "warning")),
        (moved(row(1), transform=(10.0, 0.0, 1500000.0, 0.0, -10.0, 4996613.0)), ("zone", "error")),
        (moved(row(1), id="dw_9.5_45.1-20190701"), ("name", "warning")),
        (moved(row(1), date=date(2019, 7, 2)), ("date", "error")),
        (moved(row(1), id="dw_9.0324_45.1000-20270701", date=date(2027, 7, 1)), ("date", "error")),
        (moved(row(1), id="dw_9.0324_45.1000-20170301", date=date(2017, 3, 1)), ("date", "warning")),
    ],
)
def test_each_thing_that_can_be_wrong_is_found(bad: ManifestRow, expected: tuple[str, str]) -> None:
    assert expected in rules(row(0), bad)


def test_an_id_that_stands_twice_is_found() -> None:
    assert ("duplicate-id", "error") in rules(row(0), row(0, label_sha256="1"))


def test_ground_that_two_splits_share_is_found_for_each_protocol() -> None:
    # Given a training and a test tile that share half their ground.
    other = moved(row(0), id="dw_9.0649_45.0000-20190701", transform=(10.0, 0.0, 502550.0, 0.0, -10.0, 4985500.0))
    test = replace(other, release="test", split_strict="test", split_paper="test", label_sha256="1" * 64)

    found = [f for f in check_manifest([row(0), test], today=TODAY) if f.rule == "split-overlap"]

    assert [f.message for f in found] == [
        "share 50.0% of their ground, one in train, one in test (strict)",
        "share 50.0% of their ground, one in train, one in test (paper)",
    ]
    assert "split-overlap" not in dict(rules(row(0, discard="test_overlap"), test))


def test_released_test_tiles_that_are_not_there_are_counted() -> None:
    test = row(0, release="test", split_strict="test", split_paper="test")

    finding = next(f for f in check_manifest([test], today=TODAY) if f.rule == "test-missing")

    assert finding.message == "409 of the 409 released test tiles are not there"


def test_the_known_test_tiles_lie_where_their_names_say() -> None:
    tiles = known_test_tiles()

    assert len(tiles) == 409
    for tile in tiles:
        named: TileId = parse_tile_id(tile.id)
        assert tile.centre == pytest.approx((named.lon, named.lat), abs=2e-4)


def test_every_known_test_tile_would_be_found_under_a_training_tile() -> None:
    # Given each test tile moved by 300 m, as a training tile would lie.
    tiles = known_test_tiles()
    near = [
        replace(tile, transform=(10.0, 0.0, tile.transform[2] + 300.0, 0.0, -10.0, tile.transform[5] - 300.0))
        for tile in tiles
    ]

    found = {(i, j): share for i, j, share in shared_ground(near, tiles)}

    for number in range(len(tiles)):
        assert found[number, number] == pytest.approx((4800 / 5100) ** 2, rel=0.01)
