"""The report: what it shows before and after training, whose pixels and labels it names, what it leaves out."""

import csv
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from dwplus.model import metrics
from dwplus.pipeline.build.build import validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset import findings as records
from dwplus.pipeline.dataset.findings import Finding, read_document
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.progress import Silent
from dwplus.workflow.pages import content
from dwplus.workflow.pages.report import write_report
from dwplus.workflow.pages.unchanged import RECORD
from dwplus.workflow.reproduction.numbers import paper_numbers
from support.fixture_types import LayOut, Run
from support.paths import REPOSITORY
from support.report_parts import without_costs
from support.runs import fresh_run, lay_out, make_run


@pytest.fixture(autouse=True)
def _without_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    without_costs(monkeypatch)


@pytest.mark.parametrize(
    ("source", "banner"),
    [("SANDBOX", "a synthetic"), ("UNVERIFIED 10.0.0.1", "not Google's Earth Engine"), ("earthengine", None)],
)
def test_a_page_without_runs_says_what_to_do_and_whose_pixels_it_shows(
    ready_root: LayOut, source: str, banner: str | None
) -> None:
    root = ready_root(train=4, test=2, source=source)

    page = write_report(root, progress=Silent()).read_text()

    assert "No run is scored yet" in page
    assert source in page
    assert ('class="banner"' in page) == (banner is not None)
    assert banner is None or banner in page
    assert ("SANDBOX" in page) == (source == "SANDBOX")


def test_a_new_metric_gets_its_columns(data_root: LayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, metrics.Metric("kappa", "Kappa", lambda _counts: 0.5)))
    root = data_root(train=1, test=1)
    validate_root(root, run=in_process, progress=Silent())
    monkeypatch.setattr(content, "scored_runs", lambda _root: [make_run("a")])

    page = write_report(root, progress=Silent()).read_text()

    assert page.count('<th scope="col">Kappa %</th>') == 1
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


SECTIONS = sorted(path.name for path in (REPOSITORY / "workflow" / "pages" / "sections").glob("*.j2"))


@pytest.mark.parametrize("name", ["findings.html.j2", *(f"sections/{name}" for name in SECTIONS)])
def test_every_table_can_be_scrolled_on_a_narrow_screen(name: str) -> None:
    template = (REPOSITORY / "workflow" / "pages" / name).read_text()

    assert template.count("<table") == len(re.findall(r'<div class="scroll"><table', template))
    assert template.count("</table>") == template.count("</table></div>")


def test_the_scores_come_right_after_the_run_and_each_names_its_column() -> None:
    template = (REPOSITORY / "workflow" / "pages" / "sections" / "scores.html.j2").read_text()
    line = template.split('<table class="grid dense">')[1].split("</tr>", 2)[1]

    titles = re.findall(r'data-title="([^"]*)"', line)
    assert titles[:3] == ["run", "{{ metric.title }} %", "paper: {{ metric.title }} %"]
    assert line.count("<td") == len(titles)


def test_paper_does_not_scroll() -> None:
    style = (REPOSITORY / "workflow" / "pages" / "page.css").read_text()
    printed = style.split("@media print")[1]

    assert "size: A4 landscape" in style
    assert ".scroll { overflow: visible; }" in printed
    assert "thead { display: table-header-group; }" in printed
    # No row or figure is cut in two, and no heading is left alone before its figure.
    whole = next(line for line in printed.splitlines() if line.endswith("{ break-inside: avoid; }") and "svg" in line)
    assert {"tr", "img", "svg", ".panels", ".bars", ".squares"} <= {
        part.strip() for part in whole.partition("{")[0].split(",")
    }
    assert ".together { break-inside: avoid; }" in printed
    sections = REPOSITORY / "workflow" / "pages" / "sections"
    for name in ("bubbles", "biomes", "curves", "losses", "dataset"):
        assert 'class="together"' in (sections / f"{name}.html.j2").read_text(), name


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0..1. Source: WCAG 2.2, "relative luminance"."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """1..21. Source: WCAG 2.2, "contrast ratio"."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_words_can_be_read_on_light_and_on_dark_pages() -> None:
    # Given the colours of the light page, and of the dark one, which come after them.
    style = (REPOSITORY / "workflow" / "pages" / "page.css").read_text()
    light, dark = (dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media")[:2])

    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for colours in (light, dark):
        on_paper = {
            name: contrast(colours[name], colours["paper"]) for name in ("ink", "soft", "accent", "bad", "careful")
        }
        on_others = {
            "banner": contrast(colours["ink"], colours["warn"]),
            "tag": contrast(colours["on-gold"], colours["gold"]),
            "none": contrast(colours["soft"], colours["panel"]),
            "code": contrast(colours["ink"], colours["panel"]),
        }
        assert min({**on_paper, **on_others}.values()) >= 4.5
        # A field of a confusion matrix is a mixture of the two.
        assert min(contrast(colours["ink"], colours[name]) for name in ("paper", "heat")) >= 4.5


MEANINGFUL = ("exact", "noise", "tiles", "differs", "grey", *(f"s{n}" for n in range(1, 9)))
"""Squares of verdicts, lines and marks of charts."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shapes_that_carry_a_meaning_can_be_seen(theme: str) -> None:
    # WCAG 2.2, 1.4.11: 3 to 1.
    style = (REPOSITORY / "workflow" / "pages" / "page.css").read_text()
    part = style.split("@media")[theme == "dark"]
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", part))

    found = {name: contrast(colours[name], colours["paper"]) for name in MEANINGFUL}
    found["frame of a tile"] = contrast("#e0007a", colours["paper"])

    assert {name: ratio for name, ratio in found.items() if ratio < 3} == {}
    # Every colour that draws something is among them, or carries no meaning alone.
    drawn = set(re.findall(r"(?:stroke|border-color|background): (?:[a-z-]+\([^;]*?)?var\(--([a-z0-9-]+)\)", style))
    assert drawn - {*MEANINGFUL} <= {"paper", "line", "panel", "soft", "ink", "warn", "gold", "heat"}
    assert not re.search(r"\.other \{[^}]*opacity", style)


# --- the page as a whole ----------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Start tags of a page, in order, and the ids among them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    """A validated data set with two runs, of which one can be drawn."""
    root = ready_root(train=2, test=2, size=32)
    lay_out(fresh_run(root, "drawn"), root.runs)
    lay_out(make_run("other", "segformer-small"), root.runs, weights=False)
    return root


def test_a_page_is_one_file_that_everybody_can_read(root: DataRoot) -> None:
    page = write_report(root, progress=Silent()).read_text()

    elements = Elements(page)
    # Nothing is fetched: every picture lies in the page, and what is linked lies beside it.
    assert all(str(one["src"]).startswith("data:image/") for one in elements.of("img"))
    assert not elements.of("script")
    assert not elements.of("link")
    assert not re.search(r"url\(|@import", page)
    links = [str(one["href"]) for one in elements.of("a")]
    assert {link for link in links if not link.startswith("#")} == {"tables.md", "tables.csv"}
    # Every picture says what it shows.
    assert len(elements.of("img")) > 10
    assert all(len(str(one.get("alt") or "")) > 20 for one in elements.of("img"))
    drawings = [one for one in elements.of("svg") if one.get("aria-hidden") != "true"]
    assert len(drawings) >= 3
    assert all(len(str(one.get("aria-label") or "")) > 20 for one in drawings)
    shown = [one for _, one in elements.found if one.get("role") == "img"]
    assert all(len(str(one.get("aria-label") or "")) > 10 for one in shown)
    # Contents lead to what is there, and every id is one.
    ids = [str(one["id"]) for _, one in elements.found if one.get("id")]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert page.count("<tr") == page.count("</tr>")


@pytest.mark.parametrize("runs", [True, False])
def test_headings_begin_with_one_and_leave_no_level_out(root: DataRoot, runs: bool) -> None:
    if not runs:
        shutil.rmtree(root.runs)

    page = write_report(root, progress=Silent()).read_text()

    levels = [int(tag[1]) for tag, _ in Elements(page).found if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_details_of_many_runs_are_folded_away_and_not_printed(root: DataRoot) -> None:
    # Given twelve scored runs more than the two of the fixture.
    for n in range(12):
        lay_out(make_run(f"extra-{n:02}", "segformer-small", hits=20 + n), root.runs, weights=False)

    page = write_report(root, progress=Silent()).read_text()

    matrices = page.split("Confusion matrices")[1].split("</section>")[0]
    shown, folded = matrices.split('<details class="more">')
    assert shown.count("<table") == content.DETAILED
    assert folded.count("<table") == 14 - content.DETAILED
    assert "4 other runs, with lower mIoU: in the file itself, not on paper." in shown
    # The highest mIoU first: 40 hits of the fixture's runs, then 31, 30, ...
    names = re.findall(r"<summary><b>(.*?)</b>", matrices)
    assert names[:4] == ["drawn", "other", "extra-11", "extra-10"]
    assert len(names) == 14


def test_every_number_of_the_paper_is_on_the_page_and_in_both_tables(root: DataRoot) -> None:
    page = write_report(root, progress=Silent())

    text, rows = page.read_text(), list(csv.DictReader(page.with_name("tables.csv").open()))
    markdown = page.with_name("tables.md").read_text()
    assert [row["key"] for row in rows] == [number.key for number in paper_numbers()]
    for number in paper_numbers():
        assert number.printed in text, number.key
        assert number.printed in markdown, number.key
    assert Elements(text).of("i")  # a square for each
    assert len(re.findall(r'<i class="sq [a-z-]+" title="', text)) == len(paper_numbers())
    assert "SANDBOX" in markdown


def test_a_second_page_of_the_same_files_changes_none_of_them(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_report(root, progress=Silent())
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in page.parent.glob("*") if path.is_file()}

    # Given that nothing changed, no page is made.
    monkeypatch.setattr(content, "content_of", None)
    assert write_report(root, progress=Silent()) == page

    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    assert {"index.html", "tables.md", "tables.csv", "verdicts.json", ".made-from.json"} == {
        path.name for path in before
    }


def test_a_second_look_loads_no_networks(root: DataRoot) -> None:
    write_report(root, progress=Silent())
    look = f"import sys; sys.argv = ['dwplus', 'report', '--data', {str(root.folder)!r}]; from dwplus.cli import main"

    # In a process of its own: here torch is loaded.
    said = subprocess.run(
        [sys.executable, "-c", f"{look}; main(); print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "is up to date" in said.stdout + said.stderr
    assert said.stdout.splitlines()[-1] == "False"


def test_a_page_that_somebody_changed_or_lost_is_made_again(root: DataRoot) -> None:
    page = write_report(root, progress=Silent())
    made = page.read_bytes()

    for spoil in (lambda: page.write_text("x"), page.unlink, page.with_name(RECORD).unlink):
        spoil()
        assert write_report(root, progress=Silent()).read_bytes() == made


def test_a_page_is_made_again_once_a_run_or_a_tile_has_changed(root: DataRoot) -> None:
    write_report(root, progress=Silent())

    lay_out(make_run("third"), root.runs, weights=False)
    page = write_report(root, progress=Silent())
    assert '<td data-title="run">third' in page.read_text()

    (root.folder / root.complete()[0].label).unlink()
    assert "Tiles that cannot be read now" in write_report(root, progress=Silent()).read_text()


def test_a_run_that_cannot_be_read_is_named_with_every_page(root: DataRoot, dwplus: Run) -> None:
    (root.runs / "other" / "config.json").write_text("7")

    said = [dwplus("report", "--data", str(root.folder))[2] for _ in range(2)]

    assert all("run other: " in words for words in said)
