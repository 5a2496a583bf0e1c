"""Validation: every rule finds what it is for, and nothing in a sound tile."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DataRoot, make_pixels, make_tile
from dwplus.pipeline.bands import SHARD_BANDS
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.manifest import read_manifest
from dwplus.pipeline.shards import ShardHeader, grid_of, shard_path
from dwplus.pipeline.validate import RULES, Look, bad_tiles, judge, read_findings, validate

TAGS = {"DWPLUS_SOURCE": "SANDBOX", "DWPLUS_RECIPE": "x", "S2_SCENE": "s", "S1_WINDOW": "w", "S1_MEAN": "dB"}


def sound_look() -> Look:
    tile = make_tile()
    header = ShardHeader(
        grid=grid_of(tile),
        bands=SHARD_BANDS,
        dtypes=("uint16",) * 14,
        driver="GTiff",
        nodata=0.0,
        scales=(1e-4,) * 11 + (0.01, 0.01, 1.0),
        offsets=(0.0,) * 11 + (-100.0, -100.0, 0.0),
        tags=TAGS,
    )
    label = replace(header, bands=("label",), dtypes=("uint8",))
    return Look(tile, header, make_pixels(), label, np.full((8, 8), 2, dtype=np.uint8))


def with_band(look: Look, band: str, values: int) -> Look:
    pixels = look.pixels.copy()
    pixels[SHARD_BANDS.index(band)] = values
    return replace(look, pixels=pixels)


def test_a_sound_tile_has_no_finding() -> None:
    assert judge(sound_look()) == []


GRID = grid_of(make_tile())
DAMAGES = {
    "driver": lambda look: replace(look, header=replace(look.header, driver="JP2OpenJPEG")),
    "bands": lambda look: replace(look, header=replace(look.header, bands=SHARD_BANDS[::-1])),
    "dtype": lambda look: replace(look, header=replace(look.header, dtypes=("int16",) * 14)),
    "grid": lambda look: replace(
        look,
        header=replace(look.header, grid=replace(GRID, transform=(10.0, 0.0, 500005.0, 0.0, -10.0, 5e6))),
        label=replace(look.label, grid=replace(GRID, transform=(10.0, 0.0, 500005.0, 0.0, -10.0, 5e6))),
    ),
    "label-grid": lambda look: replace(look, label=replace(look.label, grid=replace(GRID, crs="EPSG:32633"))),
    "encoding": lambda look: replace(look, header=replace(look.header, nodata=None)),
    "provenance": lambda look: replace(look, header=replace(look.header, tags={})),
    "codes": lambda look: replace(look, codes=np.where(np.eye(8, dtype=bool), np.uint8(11), look.codes)),
    "empty-band": lambda look: with_band(look, "B11", 0),
    "stuck-band": lambda look: with_band(look, "B11", 1234),
    "sar-range": lambda look: replace(look, pixels=look.pixels + _linear_vv(look)),
    "gaps": lambda look: replace(look, pixels=_with_gap(look)),
    "unmarked": lambda look: replace(look, codes=np.zeros((8, 8), dtype=np.uint8)),
}


def _linear_vv(look: Look) -> np.ndarray:
    # Linear power (about 0.06) stored as if it were dB lies near 100 x 100 = 10006.
    shift = np.zeros_like(look.pixels)
    shift[SHARD_BANDS.index("VV")] = 2300
    return shift


def _with_gap(look: Look) -> np.ndarray:
    pixels = look.pixels.copy()
    pixels[:, :2] = 0
    return pixels


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_finds_its_own_damage_and_no_other_does(rule: object) -> None:
    findings = judge(DAMAGES[rule.name](sound_look()))

    assert [(f.rule, f.severity) for f in findings] == [(rule.name, rule.severity)]


def test_files_that_cannot_be_read_are_findings(data_root: DataRoot) -> None:
    # Given a data set with one truncated shard, one missing shard and one foreign file under a shard's name.
    root = data_root(train=4, test=1)
    rows = read_manifest(root).rows
    paths = [shard_path(root, row.tile) for row in rows]
    paths[0].write_bytes(paths[0].read_bytes()[:900])
    paths[1].unlink()
    paths[2].write_text("<html>")
    shutil.copy(paths[4], paths[3])  # another tile's pixels

    findings = validate(rows, root=root, run=in_process)

    assert [(f.tile, f.rule) for f in findings if f.severity == "error" and f.rule != "label-grid"] == [
        (rows[0].tile.id, "readable"),
        (rows[1].tile.id, "readable"),
        (rows[2].tile.id, "readable"),
        (rows[3].tile.id, "grid"),
    ]
    assert bad_tiles(read_findings(root)) == {row.tile.id for row in rows[:4]}
    assert (root / "findings.csv").read_text().startswith("tile,rule,severity,message\n")


def test_a_data_set_that_was_not_validated_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run 'dwplus validate'"):
        read_findings(tmp_path)
