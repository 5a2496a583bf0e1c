"""The report: what it shows before and after training, whose pixels and labels it names, what it leaves out."""

import re
from dataclasses import replace

import numpy as np
import pytest
from dwplus.model import metrics
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset import findings as records
from dwplus.pipeline.dataset.findings import Finding, read_document
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.workflow.pages import colours, figures, report
from dwplus.workflow.pages.report import write_report
from support.fixture_types import LayOut
from support.paths import REPOSITORY
from support.runs import make_run


@pytest.fixture(autouse=True)
def without_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs of the paper's networks take long, and are tested where they are counted."""
    monkeypatch.setattr(report, "cost_rows", lambda: ())


@pytest.mark.parametrize(
    ("source", "banner"),
    [("SANDBOX", "a synthetic"), ("UNVERIFIED 10.0.0.1", "not Google's Earth Engine"), ("earthengine", None)],
)
def test_a_page_without_runs_says_what_to_do_and_whose_pixels_it_shows(
    data_root: LayOut, source: str, banner: str | None
) -> None:
    root = data_root(train=4, test=2, source=source)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())

    page = write_report(root, progress=Silent()).read_text()

    assert "No run is scored yet" in page
    assert source in page
    assert ('class="banner"' in page) == (banner is not None)
    assert banner is None or banner in page
    assert ("SANDBOX" in page) == (source == "SANDBOX")


def test_true_colour_stretches_the_tile_and_shows_no_data_black() -> None:
    stored = np.full((3, 10, 10), 500, dtype=np.uint16)
    stored[:, 5:] = 2500
    stored[:, 0, 0] = 0

    picture = colours.true_colour(stored)

    assert picture.shape == (10, 10, 3)
    assert (picture[0, 0], picture[1, 1], picture[9, 9]) == (pytest.approx(0), pytest.approx(0), pytest.approx(1))


def test_classes_have_their_official_colours_and_ignored_pixels_are_grey() -> None:
    picture = colours.class_colours(np.array([[0, 6, 255]], dtype=np.uint8))

    assert picture[0, 0] * 255 == pytest.approx(DYNAMIC_WORLD.classes[0].rgb)
    assert picture[0, 1] * 255 == pytest.approx(DYNAMIC_WORLD.classes[6].rgb)
    assert picture[0, 2] == pytest.approx((0.93, 0.93, 0.93))


def test_a_new_metric_gets_its_columns(data_root: LayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, metrics.Metric("kappa", "Kappa", lambda _counts: 0.5)))
    root = data_root(train=1, test=1)
    validate_root(root, run=in_process, progress=Silent())
    monkeypatch.setattr(report, "scored_runs", lambda _root: [make_run("a")])
    monkeypatch.setattr(report, "tile_views", lambda *_: [])
    monkeypatch.setattr(report, "is_stale", lambda *_: False)
    monkeypatch.setattr(figures, "tiles_figure", lambda *_, **__: b"")

    page = write_report(root, progress=Silent()).read_text()

    assert page.count("<th>Kappa %</th>") == 1
    assert '<td class="own" data-title="Kappa %"><b>50.0</b></td>' in page


# --- tiles and findings -----------------------------------------------------------------------------------------------


def test_errors_come_first_among_many_findings_and_are_counted(data_root: LayOut) -> None:
    root = data_root(train=3, test=1)
    validate_root(root, run=in_process, progress=Silent())
    tiles = sorted(row.tile.id for row in root.manifest().rows)
    warnings = [Finding(tiles[0], f"rule-{n:02}", "warning", "a warning") for n in range(70)]
    errors = [Finding(tiles[-1], f"rule-{n}", "error", f"error {n}") for n in range(9)]
    write_findings(root, [*warnings, *errors])

    page = write_report(root, progress=Silent()).read_text()

    assert all(f"error {n}" in page for n in range(9))
    assert page.index("error 8") < page.index("a warning")
    assert "9 errors, 70 warnings, 0 waived. The first 50, errors first" in page


def write_findings(root: DataRoot, findings: list[Finding]) -> None:
    records.write_findings(root.folder, replace(read_document(root.folder), findings=tuple(findings)))


def cells(page: str, first: str) -> list[str]:
    """Cells of the row that begins with ``first``."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"<tr><td>{first}</td>")]
    return re.findall(r"<td[^>]*>(.*?)</td>", line)


def test_tiles_are_counted_as_used_or_not_per_split_with_the_reason(data_root: LayOut) -> None:
    # Given six training tiles and two test tiles: one with an error, one written after the validation, one failed.
    root = data_root(train=6, test=2)
    validate_root(root, run=in_process, progress=Silent())
    train = sorted(row.tile.id for row in root.manifest().of_split("train", "strict"))
    test = sorted(row.tile.id for row in root.manifest().of_split("test", "strict"))
    write_findings(root, [Finding(train[0], "range", "error", "too bright")])
    with root.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[train[1]], sha256="other"))
        ledger.append(LedgerRow(test[0], "failed", "no_answer"))

    page = write_report(root, progress=Silent()).read_text()

    n = len(train)
    assert cells(page, "train") == ["train", str(n), str(n), str(n - 2), "2"]
    assert cells(page, "test") == ["test", "2", "1", "1", "1"]
    for reason, tile in (("error", train[0]), ("not-validated", train[1]), ("no_answer", test[0])):
        assert cells(page, reason)[2:] == ["1", tile]


def test_a_tile_with_a_waived_error_is_used(data_root: LayOut) -> None:
    root = data_root(train=2, test=1)
    validate_root(root, run=in_process, progress=Silent())
    tile = root.manifest().of_split("test", "strict")[0].tile.id
    write_findings(root, [Finding(tile, "range", "error", "too bright")])
    root.waivers_file.write_text(f'[[waiver]]\nrule = "range"\ntile = "{tile}"\nreason = "snow"\n')

    page = write_report(root, progress=Silent()).read_text()

    assert cells(page, "test") == ["test", "1", "1", "1", "0"]
    assert "0 errors, 0 warnings, 1 waived" in page


def test_a_data_set_that_is_not_validated_says_so_on_the_page(data_root: LayOut) -> None:
    page = write_report(data_root(train=2, test=1), progress=Silent()).read_text()

    assert "The data set is not validated yet" in page
    assert cells(page, "not-validated")[2] == "3"


def test_a_tile_that_cannot_be_read_is_named_and_ends_nothing(data_root: LayOut) -> None:
    root = data_root(train=1, test=2)
    validate_root(root, run=in_process, progress=Silent())
    first, second = (row for row in root.complete() if row.release == "test")
    (root.folder / first.label).unlink()
    root.own_shard(second.tile).write_bytes(b"half")

    page = write_report(root, progress=Silent()).read_text()

    unread = page.split("Tiles that cannot be read now")[1]
    assert f"<li><b>{first.tile.id}</b>: " in unread
    assert f"<li><b>{second.tile.id}</b>: " in unread


# --- whose pixels and labels ------------------------------------------------------------------------------------------


def as_supplied(root: DataRoot, number: int) -> None:
    """Make the first tiles of a root user-supplied."""
    rows = root.manifest().rows
    supplied = [replace(row, release="inspect") for row in rows[:number]]
    write_manifest(root.folder, make_manifest([*supplied, *rows[number:]]))


def words_of(page: str) -> str:
    return " ".join(page.split())


def test_synthetic_pixels_under_user_supplied_labels_are_said_to_be_so(data_root: LayOut) -> None:
    root = data_root(train=2, test=1)
    as_supplied(root, 3)

    page = words_of(write_report(root, progress=Silent()).read_text())

    assert "Every pixel here comes from the embedded local Earth Engine" in page
    assert "The labels are user-supplied" in page
    assert "User-supplied labels keep the licence of their makers." in page
    assert "CC BY 4.0" not in page
    assert "Copernicus" not in page


def test_labels_of_several_makers_are_counted(data_root: LayOut) -> None:
    root = data_root(train=2, test=2, source="earthengine")
    as_supplied(root, 1)

    page = words_of(write_report(root, progress=Silent()).read_text())

    assert "Labels (3 tiles) of Dynamic World: CC BY 4.0" in page
    assert "User-supplied labels (1 tile) keep the licence" in page
    assert "Contains modified Copernicus Sentinel data." in page


def test_labels_of_the_publishers_under_synthetic_pixels_are_called_real(data_root: LayOut) -> None:
    # Given a root without a planet of its own whose labels came from the archives: built with --ee-url.
    root = data_root(train=2, test=1)
    root.label_origin_file.write_text('{"origin": "releases"}')

    page = words_of(write_report(root, progress=Silent()).read_text())

    assert "The labels are real: they are those of Dynamic World" in page
    assert "Labels of Dynamic World: CC BY 4.0" in page
    # A planet of its own has its own releases.
    root.planet_file.write_text('{"seed": 7}')
    assert "Every label is computed from the same synthetic planet" in write_report(root, progress=Silent()).read_text()


def test_pixels_of_several_sources_are_counted(data_root: LayOut) -> None:
    root = data_root(train=2, test=1, source="earthengine")
    with root.open_ledger() as ledger:
        tile = sorted(ledger.rows)[0]
        ledger.append(replace(ledger.rows[tile], source="SANDBOX"))

    page = words_of(write_report(root, progress=Silent()).read_text())

    assert "1 tile from the embedded local Earth Engine, a synthetic planet, 2 tiles from Google's Earth Engine" in page
    assert "Every pixel" not in page


# --- style ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.html.j2", "findings.html.j2"])
def test_every_table_can_be_scrolled_on_a_narrow_screen(name: str) -> None:
    template = (REPOSITORY / "workflow" / "pages" / name).read_text()

    assert template.count("<table") == len(re.findall(r'<div class="scroll"><table', template)) > 3
    assert template.count("</table>") == template.count("</table></div>")
    assert "{{ style | safe }}" in template


def test_the_scores_come_right_after_the_run_and_each_names_its_column() -> None:
    template = (REPOSITORY / "workflow" / "pages" / "report.html.j2").read_text()
    line = template.split('<table class="cards">')[1].split("</tr>", 2)[1]

    titles = re.findall(r'data-title="([^"]*)"', line)
    assert titles[:3] == ["run", "{{ metric.title }} %", "paper: {{ metric.title }}"]
    assert line.count("<td") == len(titles)


def test_paper_does_not_scroll() -> None:
    style = (REPOSITORY / "workflow" / "pages" / "page.css").read_text()
    printed = style.split("@media print")[1]

    assert "size: A4 landscape" in style
    assert ".scroll { overflow: visible; }" in printed
    assert "thead { display: table-header-group; }" in printed
