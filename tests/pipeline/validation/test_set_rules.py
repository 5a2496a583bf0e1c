"""The audit of a set: each check on a small set with one defect, and worked numbers."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from dwplus.pipeline.dataset.findings import Finding
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.validation.rules import FILE_RULES
from dwplus.pipeline.validation.set_rules import (
    SET_RULES,
    SetView,
    audit,
    class_counts,
    class_distance,
    distances,
    set_shifts,
)
from dwplus.pipeline.validation.shift import Shift
from dwplus.pipeline.validation.tile_summaries import TileSummary
from support.tiles import make_tile

TODAY = date(2026, 1, 1)
LIKE_OTHERS = (40, 30, 10, 5, 5, 5, 3, 1, 1)


def row(number: int, split: str, *, x: float = 497_450.0, biome: int = 4) -> ManifestRow:
    """A sound tile named after its centre, in a zone of its own: 6 degrees, 470 km from the next."""
    grid = {"crs": f"EPSG:{32601 + number}", "x": x, "y": 4_985_500.0, "size": 510}
    lon, lat = make_tile(**grid).centre
    tile = make_tile(f"dw_{lon:.4f}_{lat:.4f}-20190701", **grid, biome=biome)
    tile = replace(tile, hemisphere="WH" if lon < -20 else "EH")
    release = "test" if split == "test" else "train"
    paper = "train" if split == "val" else split
    return ManifestRow(tile, "expert", release, "l.tif", f"sha{number}", 0.8, split_strict=split, split_paper=paper)


def view(*rows: ManifestRow, **changes: object) -> SetView:
    ledger = {
        r.tile.id: LedgerRow(r.tile.id, "done", source="SANDBOX", recipe="x", scene=f"S{r.tile.id}") for r in rows
    }
    summaries = {r.tile.id: TileSummary(r.tile.id, "", LIKE_OTHERS, 25, 1.0, 40.0) for r in rows}
    return SetView(rows, (), ledger, summaries, **{"today": TODAY, **changes})


def found(view: SetView) -> list[Finding]:
    """Findings but for the 409 released tiles, which no small set has."""
    return [finding for finding in audit(view) if finding.rule != "test-missing"]


SOUND = view(row(3, "train"), row(4, "train"), row(5, "val"), row(6, "test"))
IDS = [r.tile.id for r in SOUND.rows]


def test_a_sound_set_has_no_finding() -> None:
    assert found(SOUND) == []


def test_names_of_rules_for_the_set_and_for_one_tile_differ() -> None:
    # One list holds both, and the audit replaces its own.
    assert not set(SET_RULES) & {rule.name for rule in FILE_RULES}


# --- the same place, the same scene -----------------------------------------------------------------------------------


def test_ground_in_two_splits_is_an_error_of_the_training_tile() -> None:
    # Given a training tile that lies 1 km east of a test tile: 80 % of its ground.
    test = row(6, "test")
    train = replace(row(6, "train", x=498_450.0), label_sha256="other")

    findings = [f for f in found(view(test, train)) if f.rule == "split-overlap"]

    assert {(f.tile, f.severity) for f in findings} == {(train.tile.id, "error")}
    assert "80.4% of their ground" in findings[0].message
    assert test.tile.id in findings[0].message


def test_a_label_under_two_names_is_found() -> None:
    rows = (row(3, "train"), replace(row(4, "train"), label_sha256="sha3"))

    assert [(f.rule, f.severity, f.tile) for f in found(view(*rows))] == [
        ("duplicate-label", "warning", rows[1].tile.id)
    ]


def test_one_scene_in_two_splits_is_found_on_the_training_side() -> None:
    scene = "20190701T101031_20190701T101030_T32TNQ"
    ledger = {t: replace(r, scene=scene if t in (IDS[0], IDS[3]) else r.scene) for t, r in SOUND.ledger.items()}

    findings = found(replace(SOUND, ledger=ledger))

    assert [(f.tile, f.rule, f.severity) for f in findings] == [(IDS[0], "same-scene", "warning")]
    assert findings[0].message == f"train tile of scene {scene}, which is also that of 1 test tile ({IDS[3]})"


def test_one_scene_twice_in_one_split_is_nothing() -> None:
    ledger = {t: replace(r, scene="one" if t in IDS[:2] else r.scene) for t, r in SOUND.ledger.items()}

    assert found(replace(SOUND, ledger=ledger)) == []


def test_splits_that_lie_close_are_counted_with_the_least_distance() -> None:
    # Given a test tile 8 km east of a training tile, another far away.
    near = replace(row(6, "test", x=505_450.0), label_sha256="near")
    one = view(row(6, "train"), near, row(9, "test"))

    assert distances(one)["test", "train"] == pytest.approx([8.0, 1416.0], rel=0.01)
    assert [(f.tile, f.rule, f.message) for f in found(one)] == [
        ("", "split-distance", "1 of 2 test tiles lie within 10 km of a train tile (centres); the nearest at 8.0 km")
    ]


def test_two_recipes_in_one_set_are_an_error() -> None:
    ledger = {t: replace(r, recipe="y" if t == IDS[0] else "x") for t, r in SOUND.ledger.items()}

    assert [(f.tile, f.rule, f.severity) for f in found(replace(SOUND, ledger=ledger))] == [
        ("", "mixed-recipe", "error")
    ]


# --- distributions ----------------------------------------------------------------------------------------------------


def with_classes(tile: str, classes: tuple[int, ...]) -> SetView:
    return replace(SOUND, summaries={**SOUND.summaries, tile: replace(SOUND.summaries[tile], classes=classes)})


def test_a_class_that_only_one_split_lacks_is_named() -> None:
    # Given a test tile without snow: 1 of 100 pixels.
    findings = found(with_classes(IDS[3], (41, 30, 10, 5, 5, 5, 3, 1, 0)))

    assert [(f.tile, f.rule, f.message) for f in findings] == [
        ("", "class-missing", "no pixel of snow_and_ice in test, but in train and val")
    ]


def test_class_shares_that_differ_are_measured() -> None:
    # Given a test tile with 30 of 100 pixels crops in place of water (40 -> 10, 5 -> 35).
    classes = (10, 30, 10, 5, 35, 5, 3, 1, 1)
    one = with_classes(IDS[3], classes)

    assert class_counts(one.rows, one)[0] == 40 * 3 + 10
    assert class_distance(np.array(LIKE_OTHERS), np.array(classes)) == pytest.approx(0.30)
    assert [(f.rule, f.message) for f in found(one)] == [
        (
            "class-balance",
            f"class shares of {split} and test differ by 30% (total variation), most: water, 40.0% and 10.0%",
        )
        for split in ("train", "val")
    ]


def test_a_biome_that_is_tested_and_not_trained_on_is_named() -> None:
    findings = found(view(row(3, "train"), row(6, "test", biome=14)))

    assert [(f.rule, f.message) for f in findings] == [
        ("biome-missing", "biome 14 (Mangroves) is tested, but no training tile is of it")
    ]


def test_too_little_sentinel_1_is_found() -> None:
    thin = replace(SOUND.summaries[IDS[0]], s1_median=9.0)
    torn = replace(SOUND.summaries[IDS[1]], s1_covered=0.9)

    findings = found(replace(SOUND, summaries={**SOUND.summaries, IDS[0]: thin, IDS[1]: torn}))

    by_rule = {f.rule: f for f in findings}
    assert {rule: f.tile for rule, f in by_rule.items()} == {"s1-few": IDS[0], "s1-cover": IDS[1]}
    assert "mean of 9 observations" in by_rule["s1-few"].message
    assert "covers 90.0%" in by_rule["s1-cover"].message


# --- shifts -----------------------------------------------------------------------------------------------------------


def with_shifts(*shifts: Shift | None) -> SetView:
    return replace(SOUND, shifts={"s1": {f"tile-{n}": shift for n, shift in enumerate(shifts)}})


STILL = [Shift(dx, 0.0, 30.0) for dx in (-0.04, -0.02, 0.0, 0.02, 0.04)]


def test_a_tile_half_a_pixel_away_is_found_and_only_it() -> None:
    findings = found(with_shifts(*STILL, Shift(0.52, 0.0, 25.0)))

    assert [(f.tile, f.rule, f.severity) for f in findings] == [("tile-5", "shift", "warning")]
    assert "0.52 px east and 0.00 px south" in findings[0].message


def test_a_peak_that_does_not_stand_out_says_nothing() -> None:
    assert found(with_shifts(*STILL, Shift(5.0, 5.0, 4.0), None)) == []


def test_where_single_tiles_scatter_one_that_scatters_too_is_nothing() -> None:
    # Given slopes and hedges that radar sees elsewhere: a spread of 0.3 px a tile.
    scattered = [Shift(dx, 0.0, 12.0) for dx in (-0.4, -0.2, 0.0, 0.2, 0.4)]

    assert found(with_shifts(*scattered, Shift(0.9, 0.0, 12.0))) == []


def test_a_set_that_lies_half_a_pixel_north_is_found_as_a_set() -> None:
    one = with_shifts(*[replace(shift, dy=-0.5) for shift in STILL])

    assert set_shifts(one)["s1"].dy == pytest.approx(-0.5)
    findings = found(one)
    assert [(f.tile, f.rule) for f in findings] == [("", "set-shift")]
    assert "0.00 px east and 0.50 px north in the median of 5 tiles" in findings[0].message
