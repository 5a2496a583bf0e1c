"""Validation and statistics in one pass: the same bytes as one after the other, each shard read once."""

import json
from dataclasses import replace

import numpy as np
import pytest
from dwplus.pipeline.build import build, inspection
from dwplus.pipeline.build.build import inspect_root, normalise_root, validate_root
from dwplus.pipeline.cluster import batches, in_process
from dwplus.pipeline.dataset.manifest import PROTOCOLS
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.files.records import write_record
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.statistics import normalise
from support.fixture_types import LayOut


@pytest.fixture
def root(data_root: LayOut) -> DataRoot:
    """17 tiles, one of them with a shard that is cut off."""
    root = data_root(train=14, test=3)
    path = root.shard(root.manifest().rows[3].tile)
    path.write_bytes(path.read_bytes()[:700])
    return root


def written(root: DataRoot) -> list[bytes]:
    names = [root.findings_file, root.findings_table]
    names += [path(protocol) for path in (root.statistics_file, root.groups_file) for protocol in PROTOCOLS]
    content = [path.read_bytes() for path in names]
    for path in names:
        path.unlink()
    return content


def one_pass(root: DataRoot, run) -> list[bytes]:
    inspect_root(root, run=run, progress=Silent())
    return written(root)


def test_one_pass_writes_the_same_bytes_as_two(root: DataRoot) -> None:
    findings = validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    expected = written(root)

    def shuffled(function, items):
        order = np.random.default_rng(1).permutation(len(items))
        return ((len(batch), function(batch)) for batch in batches([items[i] for i in order], 3))

    assert "readable" in {finding.rule for finding in findings}
    assert one_pass(root, in_process) == expected
    assert one_pass(root, shuffled) == expected


def test_each_shard_is_read_once(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    view_of = inspection.view_of

    def watched(row, *arguments, **named):
        read.append(row.tile.id)
        return view_of(row, *arguments, **named)

    monkeypatch.setattr(inspection, "view_of", watched)
    monkeypatch.setattr(normalise, "count_tiles", None)

    findings, statistics = inspect_root(root, run=in_process, progress=Silent())

    assert sorted(read) == sorted(row.tile.id for row in root.manifest().rows)
    assert [one.protocol for one in statistics] == list(PROTOCOLS)
    assert {finding.tile for finding in findings} == {root.manifest().rows[3].tile.id}


def test_a_tile_that_is_left_out_for_another_reason_is_taken_away_again(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a tile without a finding that is not usable all the same, as one in quarantine.
    tile = root.manifest().rows[5].tile.id
    validate = build.validate

    def validate_and_change(rows, **named):
        found = validate(rows, **named)
        with root.open_ledger() as ledger:
            ledger.append(replace(ledger.rows[tile], state="failed"))
        return found

    monkeypatch.setattr(build, "validate", validate_and_change)
    _, (strict, paper) = inspect_root(root, run=in_process, progress=Silent())

    assert tile not in {row.tile.id for row in root.usable("train", "paper")}
    assert paper.tiles == 14 - 1 - 1
    together = [root.statistics_file(protocol).read_bytes() for protocol in PROTOCOLS]
    normalise_root(root, run=in_process, progress=Silent())
    assert [root.statistics_file(protocol).read_bytes() for protocol in PROTOCOLS] == together
    assert strict.tiles <= paper.tiles


def test_tiles_that_were_validated_before_are_counted_once(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a root whose tiles are validated but for one, which was written anew.
    validate_root(root, run=in_process, progress=Silent())
    tile = root.manifest().rows[7].tile.id
    with root.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[tile], seconds=1.0, sha256=ledger.rows[tile].sha256))
    document = json.loads(root.findings_file.read_text())
    document["validated"][tile] = "another state"
    write_record(root.findings_file, document)
    counted: list[str] = []
    count_tiles = normalise.count_tiles

    def watched(root, rows, **named):
        counted.extend(row.tile.id for row in rows)
        return count_tiles(root, rows, **named)

    monkeypatch.setattr(normalise, "count_tiles", watched)

    _, statistics = inspect_root(root, run=in_process, progress=Silent(), all_again=False)

    # Then that one is looked at and counted in one go, and the 15 other good ones are read for their counts alone.
    assert tile not in counted
    assert len(counted) == len(set(counted)) == 15
    together = written(root)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    assert written(root) == together
    assert len(statistics) == len(PROTOCOLS)
