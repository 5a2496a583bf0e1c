"""Scores of a confusion matrix against plain loops and scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from dwplus.model import metrics
from dwplus.model.metrics import ConfusionMatrix, Metric, TileCounts, count_pixels, predicted_classes
from dwplus.pipeline.errors import DataError
from dwplus.workflow.training import epoch_as_text
from numpy.typing import NDArray
from support.paths import REPOSITORY


def a_map(seed: int, *, ignored: float = 0.2) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, 9, (2, 20, 30)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.5, truth, prediction)
    truth[rng.random(truth.shape) < ignored] = 255
    return truth, prediction


def by_loop(truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = np.zeros((9, 9), dtype=np.int64)
    for t, p in zip(truth.flat, prediction.flat, strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


def test_four_pixels_by_hand():
    #              water, water, trees, ignored
    truth = np.array([[0, 0, 1, 255]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1, 3]], dtype=np.uint8)

    matrix = ConfusionMatrix.of(truth, prediction)

    assert matrix.counts[:2, :2].tolist() == [[1, 1], [0, 1]]
    assert matrix.pixels == 3
    assert matrix.iou[:2].tolist() == [1 / 2, 1 / 2]
    assert matrix.f1[:2].tolist() == [2 / 3, 2 / 3]
    assert matrix.oa == pytest.approx(2 / 3)
    assert matrix.miou == 1 / 2
    assert matrix.macro_f1 == pytest.approx(2 / 3)


def test_counts_equal_a_plain_loop():
    truth, prediction = a_map(0)

    assert np.array_equal(ConfusionMatrix.of(truth, prediction).counts, by_loop(truth, prediction))


def test_scores_equal_scikit_learns():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    truth, prediction = a_map(1)
    matrix, marked = ConfusionMatrix.of(truth, prediction), truth != 255
    t, p = truth[marked], prediction[marked]

    assert matrix.iou == pytest.approx(sklearn_metrics.jaccard_score(t, p, average=None))
    assert matrix.miou == pytest.approx(sklearn_metrics.jaccard_score(t, p, average="macro"))
    assert matrix.oa == pytest.approx(sklearn_metrics.accuracy_score(t, p))
    assert matrix.macro_f1 == pytest.approx(sklearn_metrics.f1_score(t, p, average="macro"))


def test_precision_and_recall_equal_scikit_learns():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    truth, prediction = a_map(1)
    sums, marked = ConfusionMatrix.of(truth, prediction).sums, truth != 255
    t, p = truth[marked], prediction[marked]

    assert metrics.precision(sums) == pytest.approx(sklearn_metrics.precision_score(t, p, average=None))
    assert metrics.recall(sums) == pytest.approx(sklearn_metrics.recall_score(t, p, average=None))


def test_scores_equal_torchmetrics():
    theirs = pytest.importorskip("torchmetrics.functional.classification")
    truth, prediction = a_map(6)
    matrix = ConfusionMatrix.of(truth, prediction)
    pair = torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()
    same = {"num_classes": 9, "ignore_index": 255}

    assert matrix.counts.tolist() == theirs.multiclass_confusion_matrix(*pair, **same).tolist()
    for ours, name in (("iou", "jaccard_index"), ("f1", "f1_score"), ("precision", "precision"), ("recall", "recall")):
        found = getattr(theirs, f"multiclass_{name}")(*pair, **same, average=None)
        assert getattr(metrics, ours)(matrix.sums) == pytest.approx(found.numpy(), rel=1e-6)
    assert matrix.oa == pytest.approx(theirs.multiclass_accuracy(*pair, **same, average="micro").item(), rel=1e-6)


def test_quantity_and_allocation_disagreement_by_hand():
    """Pontius and Millones 2011: ten pixels, of which one class has two too many, and one pixel of each is swapped."""
    counts = np.zeros((9, 9), dtype=np.int64)
    counts[:2, :2] = [[3, 3], [1, 3]]  # 6 and 4 true, 4 and 6 predicted

    sums = ConfusionMatrix(counts).sums

    assert float(metrics.quantity_disagreement(sums)) == pytest.approx(2 / 10)
    assert float(metrics.allocation_disagreement(sums)) == pytest.approx(2 / 10)
    assert float(metrics.oa(sums)) == pytest.approx(1 - 2 / 10 - 2 / 10)


def test_formulas_score_many_matrices_at_once():
    matrices = [ConfusionMatrix.of(*a_map(seed)) for seed in range(3)]
    stacked = metrics.Sums(*(np.stack([getattr(m.sums, n) for m in matrices]) for n in ("hit", "truth", "predicted")))

    for metric in metrics.METRICS:
        if metric.key not in ("ece", "brier"):
            expected = [metric.value(TileCounts(matrix)) for matrix in matrices]
            assert np.array_equal(metric.formula(stacked), np.stack(expected)), metric.key


def test_matrices_of_parts_add_up_to_that_of_the_whole():
    truth, prediction = a_map(2)

    parts = [ConfusionMatrix.of(t, p) for t, p in zip(np.split(truth, 4), np.split(prediction, 4), strict=True)]

    assert sum(parts, ConfusionMatrix.zero()) == ConfusionMatrix.of(truth, prediction)


def test_a_class_that_is_nowhere_is_named_and_left_out_of_the_means():
    counts = np.zeros((9, 9), dtype=np.int64)
    counts[0, 0], counts[1, 1] = 5, 5

    matrix = ConfusionMatrix(counts)

    assert matrix.absent[0] == "grass"
    assert len(matrix.absent) == 7
    assert matrix.miou == matrix.macro_f1 == 1
    assert math.isnan(matrix.iou[2])
    nothing = dict.fromkeys(("iou", "f1", "precision", "recall"))
    assert TileCounts(matrix).scores()["classes"]["grass"] == {**nothing, "pixels": 0}


def test_a_class_that_is_only_predicted_or_only_true_scores_zero_and_counts():
    counts = np.zeros((9, 9), dtype=np.int64)
    counts[0, 0], counts[1, 2] = 5, 5  # trees are never found, grass is never there

    matrix = ConfusionMatrix(counts)

    assert matrix.iou[:3].tolist() == [1, 0, 0]
    assert matrix.miou == pytest.approx(1 / 3)


def test_an_empty_matrix_has_no_scores_and_says_so():
    scores = TileCounts(ConfusionMatrix.zero()).scores()

    assert scores["miou"] is scores["oa"] is scores["f1"] is None
    assert len(scores["absent"]) == 9


def test_a_matrix_survives_json():
    matrix = ConfusionMatrix.of(*a_map(3))

    assert ConfusionMatrix.from_dict(json.loads(json.dumps(matrix.to_dict()))) == matrix
    json.dumps(TileCounts(matrix).scores(), allow_nan=False)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([[0, 9]], [[0, 0]], "neither 0..8 nor 255"),
        ([[0, 1]], [[0, 9]], "prediction holds 9"),
        ([[0, 1]], [[0]], "one shape"),
    ],
)
def test_values_that_are_no_class_are_refused(truth: list[list[int]], prediction: list[list[int]], message: str):
    with pytest.raises(DataError, match=message):
        ConfusionMatrix.of(np.array(truth, dtype=np.uint8), np.array(prediction, dtype=np.uint8))


@pytest.mark.parametrize("mapping", [{}, {"classes": ["water"], "counts": [[1]]}])
def test_what_is_no_matrix_is_refused(mapping: dict[str, object]):
    with pytest.raises(DataError, match="confusion matrix"):
        ConfusionMatrix.from_dict(mapping)


def test_a_matrix_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        ConfusionMatrix.zero().counts[0, 0] = 1


def test_each_sample_of_a_batch_has_its_own_matrix():
    maps = [a_map(4), a_map(5)]
    truth, prediction = (torch.from_numpy(np.stack(half)) for half in zip(*maps, strict=True))

    counts = count_pixels(truth, prediction).numpy()

    assert all(np.array_equal(found, by_loop(*one)) for found, one in zip(counts, maps, strict=True))


def test_the_predicted_class_is_the_first_with_the_largest_logit():
    logits = torch.randn(2, 9, 5, 7, generator=torch.Generator().manual_seed(0))
    logits[0, :, 0, 0] = 1.0  # all equal

    found = predicted_classes(logits)

    assert found.dtype == torch.uint8
    assert found[0, 0, 0] == 0
    assert torch.equal(found.long(), logits.argmax(1))


def test_a_new_metric_is_one_row_and_appears_wherever_scores_do(monkeypatch: pytest.MonkeyPatch) -> None:
    share = Metric("water_share", "Water", lambda sums: sums.truth[..., 0] / sums.pixels)
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, share))
    counts = TileCounts(ConfusionMatrix(np.diag([1, 3, 0, 0, 0, 0, 0, 0, 0])))

    scores = (counts + counts).scores()

    assert scores["water_share"] == 0.25
    assert [metric.key for metric in metrics.overall()] == ["miou", "oa", "f1", "water_share"]
    assert epoch_as_text({"epoch": 2, "loss": 0.5, **{key: scores[key] for key in ("oa", "water_share")}}) == (
        "epoch 2: loss 0.500, val OA 1.000, Water 0.250"
    )


def test_the_keys_and_their_order_on_disk_are_fixed() -> None:
    scores = TileCounts(ConfusionMatrix.zero()).scores()

    overall = ["miou", "oa", "f1", "quantity", "allocation", "ece", "brier"]
    assert list(scores) == [*overall, "classes", "absent", "pixels"]
    assert list(scores["classes"]["water"]) == ["iou", "f1", "precision", "recall", "pixels"]


def test_every_metric_is_described() -> None:
    page = (REPOSITORY / "docs" / "scores.md").read_text(encoding="utf-8")

    assert [metric.title for metric in metrics.METRICS if f"**{metric.title}**" not in page] == []
