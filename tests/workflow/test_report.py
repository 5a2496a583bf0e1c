"""The report: what it shows before and after training, and whose numbers stand where."""

from pathlib import Path

import numpy as np
import pytest
from dwplus.manifests import load_toml
from dwplus.model import metrics
from dwplus.model.metrics import ConfusionMatrix
from dwplus.model.runs import DataCard, RunConfig
from dwplus.model.score import Scores
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.landcover import CLASS_NAMES, CLASSES
from dwplus.workflow.pages import figures, report
from dwplus.workflow.pages.report import Run, class_rows, cost_rows, run_summary, s1_gain, write_report
from support.fixture_types import LayOut


def make_run(name: str, auxiliary: tuple[str, ...], hits: int) -> Run:
    """A scored run on 100 pixels of two classes, of which ``hits`` of each class are right."""
    counts = np.zeros((9, 9), dtype=np.int64)
    counts[0, 0] = counts[1, 1] = hits
    counts[0, 1] = counts[1, 0] = 50 - hits
    primary = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    data = DataCard(primary, auxiliary, "strict", "SANDBOX", "abc", 6, (1,) * 9, {})
    model = "specsar-former-small" if auxiliary else "segformer-small"
    config = RunConfig("0", model, {}, {"seed": 0}, data)
    matrix = ConfusionMatrix(counts)
    scores = Scores("test", "strict", "SANDBOX", model, "model", matrix, {}, {}, 2, "0", ("water", 0.5), 1.0, 1.0)
    return Run(name, Path(name), config, scores, [{"epoch": 1, "loss": 1.0, "seconds": 2.0}])


def test_the_gain_of_sentinel_1_is_the_difference_of_the_two_runs() -> None:
    # 40 of 50 right per class: OA 0.8, IoU 40/60; 30 of 50: OA 0.6, IoU 30/70.
    gain = s1_gain([make_run("a", ("VV", "VH"), 40), make_run("b", (), 30)])

    assert gain is not None
    assert gain["oa"] == pytest.approx(0.2)
    assert gain["miou"] == pytest.approx(40 / 60 - 30 / 70)
    assert s1_gain([make_run("a", ("VV", "VH"), 40)]) is None


def test_each_run_stands_beside_the_papers_row_of_the_same_inputs() -> None:
    dual, single = run_summary(make_run("a", ("VV", "VH"), 40)), run_summary(make_run("b", (), 30))

    assert (dual["paper"]["miou"], single["paper"]["miou"]) == (59.58, 58.04)
    assert dual["source"] == "SANDBOX"


def test_the_papers_ious_are_matched_by_class_name_in_both_readings() -> None:
    rows = class_rows([make_run("a", (), 30)])

    printed, reordered = (dict(zip(CLASS_NAMES, row["iou"], strict=True)) for row in rows[1:])
    assert (printed["crops"], printed["shrub_and_scrub"], printed["flooded_vegetation"]) == (46.55, 74.90, 40.36)
    assert (reordered["flooded_vegetation"], reordered["crops"], reordered["shrub_and_scrub"]) == (46.55, 74.90, 40.36)
    assert rows[0]["iou"][0] == pytest.approx(100 * 30 / 70)


def test_sizes_of_the_papers_networks_are_counted_not_quoted() -> None:
    table = load_toml("paper")["table2"]
    rows = {row["name"]: row for row in cost_rows()}
    assert set(rows) == set(table)
    assert rows.pop("vit-adapter")["note"].startswith("official form")
    for row in rows.values():
        assert round(row["cost"].params_rule / 1e6, 2) == table[row["name"]]["params"]
        assert round(row["cost"].gflops_rule, 2) == table[row["name"]]["flops"]


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


def test_scores_that_cannot_be_read_are_named_with_what_to_do(data_root: LayOut) -> None:
    root = data_root(train=1, test=1)
    validate_root(root, run=in_process, progress=Silent())
    scores = root.folder / "runs" / "old" / "scores.json"
    scores.parent.mkdir(parents=True)
    scores.write_text('{"split": "test"}')

    with pytest.raises(DataError, match=r"runs/old/scores\.json: .* score the run again, with 'dwplus score runs/old'"):
        write_report(root, progress=Silent())


def test_true_colour_stretches_the_tile_and_shows_no_data_black() -> None:
    stored = np.full((3, 10, 10), 500, dtype=np.uint16)
    stored[:, 5:] = 2500
    stored[:, 0, 0] = 0

    picture = figures.true_colour(stored)

    assert picture.shape == (10, 10, 3)
    assert (picture[0, 0], picture[1, 1], picture[9, 9]) == (pytest.approx(0), pytest.approx(0), pytest.approx(1))


def test_classes_have_their_official_colours_and_ignored_pixels_are_grey() -> None:
    picture = figures.class_colours(np.array([[0, 6, 255]], dtype=np.uint8))

    assert picture[0, 0] * 255 == pytest.approx(CLASSES[0].rgb)
    assert picture[0, 1] * 255 == pytest.approx(CLASSES[6].rgb)
    assert picture[0, 2] == pytest.approx((0.93, 0.93, 0.93))


def test_a_new_metric_gets_its_columns(data_root: LayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, metrics.Metric("kappa", "Kappa", lambda _counts: 0.5)))
    root = data_root(train=1, test=1)
    validate_root(root, run=in_process, progress=Silent())
    monkeypatch.setattr(report, "scored_runs", lambda _root: [make_run("a", ("VV", "VH"), 40)])
    monkeypatch.setattr(report, "tile_views", lambda *_: [])
    monkeypatch.setattr(report, "is_stale", lambda *_: False)
    monkeypatch.setattr(report, "cost_rows", lambda: ())
    monkeypatch.setattr(figures, "tiles_figure", lambda *_, **__: b"")

    page = write_report(root, progress=Silent()).read_text()

    assert page.count("<th>Kappa %</th>") == 1
    assert "<td><b>50.0</b></td>" in page
