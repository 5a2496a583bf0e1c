"""The stage of the audit over a small data root, with defects put into its files; its page and its command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dwplus.cli import cli
from dwplus.commands.validate import exit_code
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.findings import Finding
from dwplus.pipeline.dataset.manifest import Manifest, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.waivers import Waiver
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.files.atomic import read_json, sha256_of, write_atomically
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import encode_shard, read_header, write_label
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.validation import audit
from dwplus.pipeline.validation.audit import AuditResult, audit_root, measure, sampled
from dwplus.pipeline.validation.validate import validate
from dwplus.workflow.pages.findings_page import write_findings_page
from support.fixture_types import LayOut
from support.pictures import ground, moved
from support.tiles import make_pixels

SIZE = 128
WAIVER = Waiver("*", "*", "for the test")


def textured(root: DataRoot, *, shifted: str = "") -> None:
    """Give every tile the same ground in optics, radar and label; radar of one tile lies 0.5 px further east."""
    rows = []
    with root.open_ledger() as ledger:
        for number, row in enumerate(root.manifest().rows):
            path, fields = root.shard(row.tile), ground(SIZE + 32, seed=number)
            fields /= fields.std()
            inside = (slice(16, -16), slice(16, -16))
            radar = moved(fields, 0.5 if row.tile.id == shifted else 0.0, 0.0)[inside]
            pixels = make_pixels(SIZE, seed=number)
            for band in range(11):
                pixels[band] = 2000 + 300 * fields[inside] + band
            # Brighter ground is darker in radar.
            pixels[SHARD_BANDS.index("VV")] = 8800 - 200 * radar
            pixels[SHARD_BANDS.index("VH")] = 8100 - 200 * radar
            content = encode_shard(pixels, row.tile, read_header(path).tags)
            write_atomically(path, content)
            codes = np.where(fields[inside] > 0.3, 2, np.where(fields[inside] > -0.4, 5, 8)).astype(np.uint8)
            rows.append(replace(row, label_written_sha256=write_label(root.own_label(row), codes, row.tile, {})))
            ledger.append(replace(ledger.rows[row.tile.id], bytes=len(content), sha256=sha256_of(content)))
    write_manifest(root.folder, Manifest(tuple(rows)))


def audited(root: DataRoot, **settings: object) -> AuditResult:
    validate(root.manifest().rows, root=root, run=in_process, all_again=False)
    return audit_root(root, run=in_process, progress=Silent(), **settings)


@pytest.fixture
def root(data_root: LayOut) -> Path:
    return data_root(train=4, test=2)


def test_radar_of_one_tile_half_a_pixel_away_is_found(data_root: LayOut) -> None:
    root = data_root(train=5, test=2, size=SIZE)
    shifted = root.manifest().rows[2].tile.id
    textured(root, shifted=shifted)

    result = audited(root)

    found = [f for f in result.findings if f.rule in ("shift", "set-shift")]
    assert [(f.tile, f.rule, f.severity) for f in found] == [(shifted, "shift", "warning")]
    measured = result.view.shifts["s1"][shifted]
    assert measured is not None
    assert (measured.dx, measured.dy) == pytest.approx((0.5, 0.0), abs=0.05)
    assert all(of is not None and of.clear and of.length < 0.15 for of in result.view.shifts["label"].values())


def test_one_list_holds_findings_of_shards_and_of_the_set_and_stays_readable(root: DataRoot) -> None:
    # Given one shard that cannot be read, and one scene in both releases.
    rows = root.manifest().rows
    broken = rows[0].tile.id
    root.shard(rows[0].tile).write_bytes(b"torn")
    test = next(row.tile.id for row in rows if row.release == "test")
    train = next(row.tile.id for row in rows[1:] if row.split_strict == "train")
    with root.open_ledger() as ledger:
        for tile in (train, test):
            ledger.append(replace(ledger.rows[tile], scene="20190701T101031_20190701T101030_T32TNQ"))

    result = audited(root, sample=0)
    audited(root, sample=0)  # an audit replaces what the last one found

    found = {(f.tile, f.rule, f.severity) for f in root.findings()}
    assert {(broken, "readable", "error"), (train, "same-scene", "warning")} <= found
    assert len(root.findings()) == len(result.findings) == len(set(result.findings))
    lines = (root.folder / "findings.csv").read_text().splitlines()
    assert lines[0] == "tile,rule,severity,message,waived"
    assert len(lines) == 1 + len(result.findings)
    assert read_json(root.folder / "findings.json")["audit"]["tiles_with_errors"] == 1


def test_waived_findings_are_listed_with_the_reason_and_do_not_count(root: DataRoot) -> None:
    row = root.manifest().rows[0]
    root.shard(row.tile).write_bytes(b"torn")
    words = f'[[waiver]]\nrule = "readable"\ntile = "{row.tile.id}"\nreason = "disk is being repaired"\n'
    (root.folder / "waivers.toml").write_text(
        words + '[[waiver]]\nrule = "s1-few"\ntile = "*"\nreason = "not needed"\n'
    )

    result = audited(root, sample=0)

    assert result.number("error") == 0
    assert [waiver.rule for waiver in result.unused] == ["s1-few"]
    assert read_json(root.folder / "findings.json")["waived"][0]["reason"] == "disk is being repaired"
    assert ",disk is being repaired\n" in (root.folder / "findings.csv").read_text()

    (root.folder / "waivers.toml").write_text(words.replace("readable", "readible"))
    with pytest.raises(UsageError, match="no rule 'readible'"):
        audited(root, sample=0)


def test_only_tiles_that_changed_are_read_again(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audited(root)
    assert root.summaries_file.is_file()
    for row in root.manifest().rows:
        root.shard(row.tile).unlink()

    # Every pixel is gone, the numbers are still there.
    again = audit_root(root, run=in_process, progress=Silent())

    assert again.view.summaries == first.view.summaries
    assert again.view.shifts == first.view.shifts
    # What is kept of another version is not believed.
    root.shifts_file.write_text(root.shifts_file.read_text().replace('"method": 1', '"method": 0'))
    root.summaries_file.write_text("[[1]]")
    anew = audit_root(root, run=in_process, progress=Silent())
    assert (anew.view.summaries, anew.view.shifts) == ({}, {"s1": {}, "label": {}})


def test_a_sample_is_the_same_each_time_and_all_is_all(root: DataRoot) -> None:
    rows = root.manifest().rows

    assert sampled(rows, None) == rows
    assert len(sampled(rows, 3)) == 3
    assert sampled(rows, 3) == sampled(rows, 3)
    assert sampled(rows, 0) == sampled((), 5) == ()


def test_a_tile_without_edges_has_no_shift(root: DataRoot) -> None:
    row = root.manifest().rows[0]
    write_label(root.label(row), np.full((8, 8), 2, dtype=np.uint8), row.tile, {})

    assert measure(row, root, root.classes())["label"] is None


def test_what_was_not_validated_cannot_be_audited(root: DataRoot) -> None:
    with pytest.raises(DataError, match="run 'dwplus validate'"):
        audit_root(root, run=in_process, progress=Silent())


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_the_worst_tile_first_and_says_whose_pixels_they_are(data_root: LayOut) -> None:
    root = data_root(train=4, test=2, size=SIZE)
    rows = root.manifest().rows
    textured(root, shifted=rows[2].tile.id)
    write_label(root.folder / rows[3].label, np.full((SIZE, SIZE), 11, dtype=np.uint8), rows[3].tile, {})

    page = write_findings_page(root, audited(root), progress=Silent())

    text = page.read_text(encoding="utf-8")
    assert page == root.findings_page
    assert text.count("SANDBOX") > 5
    assert 0 < text.index(f"<b>{rows[3].tile.id}</b>") < text.index(f"<b>{rows[2].tile.id}</b>")
    assert f"true colour, VV and label of {rows[2].tile.id}" in text
    assert text.count("data:image/png;base64,") >= 10
    assert "http" not in text.replace("http-equiv", "")


def test_pixels_of_the_service_carry_no_mark_and_an_empty_set_has_a_page(data_root: LayOut) -> None:
    root = data_root(train=2, test=1, source="earthengine")
    result = audited(root)
    assert "SANDBOX" not in write_findings_page(root, result, progress=Silent()).read_text(encoding="utf-8")

    empty = replace(result, view=replace(result.view, rows=(), summaries={}, shifts={}), findings=())
    assert "Nothing was found" in write_findings_page(root, empty, progress=Silent()).read_text(encoding="utf-8")


# --- the command ------------------------------------------------------------------------------------------------------


def run(root: DataRoot, *options: str) -> tuple[int, str]:
    command = [
        "validate",
        "--source",
        "sandbox",
        "--data",
        str(root.folder.parent),
        "--workers",
        "1",
        "-q",
        "--sample",
        "0",
    ]
    answer = CliRunner().invoke(cli, [*command, *options])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.exit_code, answer.output


def test_warnings_exit_0_unless_strict_and_errors_exit_3(root: DataRoot) -> None:
    # The set lacks most of the 409 test tiles: a warning.
    result = audited(root, sample=0)
    assert result.number("warning") > 0
    assert (exit_code(result, strict=False), exit_code(result, strict=True)) == (0, 3)

    broken = replace(result, findings=(*result.findings, Finding("", "mixed-recipe", "error", "two recipes")))
    assert exit_code(broken, strict=False) == 3
    assert exit_code(replace(broken, waived=dict.fromkeys(broken.findings, WAIVER)), strict=True) == 0


def test_errors_are_put_aside_and_brought_back(root: DataRoot) -> None:
    tile = root.manifest().rows[0].tile
    root.shard(tile).write_bytes(b"torn")

    code, output = run(root, "--quarantine")

    assert code == 3
    assert "1 tile with errors" in output
    assert "1 shard put aside" in output
    assert "[SANDBOX]" in output
    assert not root.shard(tile).exists()

    code, output = run(root, "--changed")
    assert code == 0, output
    assert f"<b>{tile.id}</b>: readable" in root.findings_page.read_text()

    code, output = run(root, "--changed", "--restore", tile.id)
    assert code == 3
    assert root.ledger()[tile.id].state == "done"


def test_waivers_of_a_file_are_taken_into_the_data_set(root: DataRoot, tmp_path: Path) -> None:
    root.shard(root.manifest().rows[0].tile).write_bytes(b"torn")
    given = tmp_path / "ours.toml"
    given.write_text('[[waiver]]\nrule = "readable"\ntile = "*"\nreason = "for the test"\n')

    code, output = run(root, "--waivers", str(given), "--json")

    assert code == 0
    assert json.loads(output)["waived"][0]["reason"] == "for the test"
    assert (root.folder / "waivers.toml").is_file()


def test_statistics_do_without_tiles_that_the_audit_of_the_set_put_aside(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a training tile with a sound shard that the set cannot have: it is counted before that is known.
    tile = next(row.tile for row in root.manifest().rows if row.split_paper == "train")
    finding = Finding(tile.id, "split-overlap", "error", "lies on another tile")
    monkeypatch.setattr(audit, "audit", lambda view: [finding])

    code, output = run(root, "--quarantine")

    assert code == 3
    assert "no statistics" not in output
    assert read_json(root.folder / "stats-paper.json")["tiles"] == 3
    assert read_json(root.folder / "stats-paper.json")["bands"]["B2"]["count"] == 3 * 64


def test_the_page_says_whose_labels_these_are(root: DataRoot) -> None:
    # Given synthetic pixels beside labels of the publishers' archives: a root without a planet of its own.
    root.label_origin_file.write_text('{"origin": "releases"}')

    text = write_findings_page(root, audited(root), progress=Silent()).read_text(encoding="utf-8")

    assert "Every pixel here comes from the embedded local Earth Engine" in text
    assert "The labels are real: they are those of Dynamic World" in text
