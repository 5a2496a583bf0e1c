"""Counts of a batch against softmax and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dwplus.model.metrics import BINS, METRICS, MILLION, ConfusionMatrix, TileCounts, predicted_classes
from dwplus.model.scores.counting import count_batch, count_with_other_logits, counted_rows, mask_digest


def a_batch(seed: int = 0, *, ignored: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tiles of 40 x 50 px, five classes: labels, and logits that lean to them."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 5, (2, 40, 50), generator=generator)
    logits = 2 * torch.randn(2, 5, 40, 50, generator=generator)
    logits.scatter_add_(1, label[:, None], torch.ones(2, 1, 40, 50))
    label[torch.rand(label.shape, generator=generator) < ignored] = 255
    return label.to(torch.uint8), logits


def test_two_pixels_by_hand():
    # Probabilities 3/4 and 1/4, right; then 1/4 and 3/4, wrong.
    logits = torch.tensor([[[[3.0, 1.0]], [[1.0, 3.0]]]]).log()
    label = torch.tensor([[[0, 0]]], dtype=torch.uint8)

    found = count_batch(label, predicted_classes(logits), logits)

    assert found.matrices[0].tolist() == [[1, 1], [0, 0]]
    assert found.bins[0, :, 11].tolist() == [2, 1, 1_500_000]  # 0.75 lies in 11/15..12/15
    assert found.squared_errors.tolist() == [125_000 + 1_125_000]  # (1/4)^2 + (1/4)^2 and (3/4)^2 + (3/4)^2


def test_calibration_and_brier_score_are_those_of_a_plain_softmax():
    label, logits = a_batch()

    found = count_batch(label, predicted_classes(logits), logits)

    for tile in range(2):
        rows = label[tile, ::2]  # calibration is counted in every second row
        marked = rows != 255
        probabilities = logits[tile, :, ::2].double().softmax(0)[:, marked].numpy()
        truth = rows[marked].numpy()
        squares = ((probabilities - np.eye(5)[:, truth]) ** 2).sum()
        confidence, right = probabilities.max(0), probabilities.argmax(0) == truth
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        assert found.squared_errors[tile].item() / MILLION == pytest.approx(squares, rel=1e-5)
        assert np.abs(found.bins[tile, 0].numpy() - np.bincount(bins, minlength=BINS)).max() <= 1  # on an edge
        assert np.abs(found.bins[tile, 1].numpy() - np.bincount(bins[right], minlength=BINS)).max() <= 1
        assert found.bins[tile, 2].sum().item() / MILLION == pytest.approx(confidence.sum(), rel=1e-5)
        assert found.bins[tile, 0].sum() == marked.sum()
        assert found.matrices[tile].sum() == (label[tile] != 255).sum()


def test_a_temperature_is_counted_as_its_logits_would_be():
    # Given counts of logits, and the same logits over a temperature, which choose the same classes.
    label, logits = a_batch(2)
    classes = predicted_classes(logits)
    first = count_batch(label, classes, logits)

    # When calibration alone is counted again.
    found = count_with_other_logits(first, label, classes, counted_rows(logits) / 0.7)

    # Then all counts are those of the other logits, counted in full.
    wanted = count_batch(label, predicted_classes(logits / 0.7), logits / 0.7)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
    assert not torch.equal(found.bins, first.bins)


def test_the_calibration_error_is_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    label, logits = a_batch(1, ignored=0.0)

    found = count_batch(label, predicted_classes(logits), logits)

    counts = TileCounts(
        ConfusionMatrix(found.matrices.sum(0).numpy(), tuple("abcde")),
        found.bins.sum(0).numpy(),
        int(found.squared_errors.sum()),
    )
    (ece,) = (metric for metric in METRICS if metric.key == "ece")
    rows = logits[:, :, ::2].softmax(1), label[:, ::2].long()
    theirs = torchmetrics.multiclass_calibration_error(*rows, 5, n_bins=BINS, norm="l1")
    assert ece.value(counts) == pytest.approx(theirs.item(), abs=1e-5)


def test_ignored_pixels_are_in_nothing():
    label, logits = a_batch()
    nothing = torch.full_like(label, 255)

    found = count_batch(nothing, predicted_classes(logits), logits)

    assert all(int(part.sum()) == 0 for part in found)


def test_logits_of_any_size_do_not_overflow():
    logits = torch.tensor([[[[1e4, -1e4]], [[-1e4, 3e4]]]])
    label = torch.tensor([[[0, 0]]], dtype=torch.uint8)

    found = count_batch(label, predicted_classes(logits), logits)

    assert found.bins[0, 2].sum() == 2 * MILLION
    assert found.squared_errors.tolist() == [2 * MILLION]  # 0 of the first, 2 of the second: sure and wrong


def test_a_mask_has_another_digest_with_any_other_pixel_or_shape():
    label = torch.zeros(4, 6, dtype=torch.uint8)
    other = label.clone()
    other[3, 5] = 255

    digests = {mask_digest(one) for one in (label, other, label.view(6, 4), label + 3)}

    assert len(digests) == 3  # another class is no other mask
