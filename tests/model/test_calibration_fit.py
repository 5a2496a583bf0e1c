"""Fitting a calibration, on samples whose right answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dwplus.model.calibration import without_focal
from dwplus.model.calibration_fit import (
    TRAIN_TILES,
    Sample,
    calibrate,
    check_split,
    drawn,
    fit,
    gamma_of,
    reliability,
    tiles_of,
)
from dwplus.model.config import to_mapping
from dwplus.model.registry import configure, spec
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.pipeline.errors import UsageError
from numpy.typing import NDArray
from support.tile_sets import MemoryTiles, numbered

CLASSES = 4
PIXELS = 50_000


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def calibrated(seed: int = 0, *, pixels: int = PIXELS) -> Sample:
    """Independent pixels whose truth is drawn from the softmax of their logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (pixels, CLASSES)).astype(np.float32)
    truth = (softmax(logits.astype(np.float64)).cumsum(1) < rng.random((pixels, 1))).sum(1).clip(max=CLASSES - 1)
    return Sample(logits, truth.astype(np.uint8))


def test_a_perfectly_calibrated_network_has_no_calibration_error_and_a_temperature_of_one() -> None:
    for seed in range(3):
        sample = calibrated(seed, pixels=200_000)

        found = fit(sample)

        assert found.temperature == pytest.approx(1, abs=0.03)
        assert not found.bias.any()
        assert reliability(sample).ece <= 0.005


@pytest.mark.parametrize(("factor", "temperature"), [(0.5, 0.5), (1 / 3, 1 / 3), (2.5, 2.5)])
def test_a_network_that_is_too_little_or_too_much_sure_gets_its_temperature(factor: float, temperature: float) -> None:
    """Focal loss leaves networks too little sure: below 1."""
    sample = calibrated()
    unsure = replace(sample, logits=sample.logits * np.float32(factor))

    found = fit(unsure).temperature

    assert found == pytest.approx(temperature, rel=0.03)
    assert reliability(unsure).ece > 0.1
    assert reliability(unsure, found).ece <= 0.005


def test_the_temperature_is_the_best_of_a_fine_grid() -> None:
    sample = calibrated(3, pixels=4_000)
    sample = replace(sample, logits=sample.logits * np.float32(0.6))
    rows = np.arange(len(sample.truth))
    grid = np.linspace(0.3, 1.5, 1201)

    losses = [-np.log(softmax(sample.logits.astype(np.float64) / t)[rows, sample.truth]).mean() for t in grid]

    assert fit(sample, enough=1.0).temperature == pytest.approx(grid[np.argmin(losses)], abs=0.001)


def test_biases_are_found_where_a_temperature_is_not_enough() -> None:
    """A network that says the first class too often, by 2 in its logit."""
    sample = calibrated(1)
    wrong = replace(sample, logits=sample.logits + np.array([2, 0, 0, 0], np.float32))

    found = fit(wrong, enough=0.02)

    assert reliability(wrong, found.alone).ece > 0.02
    assert reliability(wrong, found.temperature, found.bias).ece <= 0.01
    assert found.bias == pytest.approx([-1.5, 0.5, 0.5, 0.5], abs=0.06)  # they add up to 0


def test_a_class_that_the_split_does_not_hold_keeps_its_logit() -> None:
    sample = calibrated(1)
    kept = sample.truth < CLASSES - 1
    wrong = Sample((sample.logits + np.array([2, 0, 0, 0], np.float32))[kept], sample.truth[kept])

    found = fit(wrong)

    assert found.bias[:3].sum() == pytest.approx(0, abs=0.05)
    assert found.bias[3] == 0


def test_focal_loss_is_undone_exactly_where_a_temperature_leaves_an_error() -> None:
    """Logits of the probabilities that minimise focal loss, found by a plain search for each pixel."""
    gamma, shares = 2.0, np.linspace(0.05, 0.95, 19)
    grid = np.linspace(1e-4, 1 - 1e-4, 9_999)
    of_grid = -((1 - grid) ** gamma) * np.log(grid)
    least = [grid[np.argmin(share * of_grid + (1 - share) * of_grid[::-1])] for share in shares]
    logits = torch.tensor(np.log([[v, 1 - v] for v in least]))

    found = without_focal(logits, gamma).softmax(dim=1)

    assert found[:, 0].numpy() == pytest.approx(shares, abs=0.001)
    assert abs(least[-1] - shares[-1]) > 0.1  # 0.95 is given as 0.8
    assert torch.equal(without_focal(logits, 0.0), logits)
    sure = without_focal(torch.tensor([[200.0, 0.0, 0.0]]), gamma)
    assert torch.isfinite(sure).all()


def test_no_more_is_fitted_than_is_needed() -> None:
    sample = calibrated(4, pixels=20_000)
    rng = np.random.default_rng(0)
    # Given by a network trained with focal loss: most pixels hardly sure, some very.
    spread = replace(sample, logits=sample.logits * rng.choice([0.2, 3.0], (len(sample.truth), 1)).astype(np.float32))

    assert fit(sample, gamma=2.0).gamma == 0
    assert fit(spread, gamma=2.0, enough=1.0).gamma == 0
    assert fit(spread, gamma=2.0, enough=0.0).gamma == 2
    assert fit(spread, gamma=2.0, enough=0.0).bias.any()
    assert gamma_of({"loss": "focal", "gamma": 2.0}) == 2
    assert gamma_of({"loss": "cross-entropy", "gamma": 2.0}) == gamma_of({}) == 0


def test_reliability_is_that_of_torchmetrics_and_of_scikit_learn() -> None:
    theirs = pytest.importorskip("torchmetrics.functional.classification").multiclass_calibration_error
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    sample = calibrated(2, pixels=5_000)
    sample = replace(sample, logits=sample.logits * np.float32(0.4))

    found = reliability(sample)

    p = softmax(sample.logits.astype(np.float64))
    ece = theirs(torch.tensor(p), torch.tensor(sample.truth).long(), CLASSES, n_bins=15)
    assert found.ece == pytest.approx(float(ece), abs=1e-5)
    right = p.argmax(1) == sample.truth
    shares, confidences = curve(right, p.max(1), n_bins=15)
    filled = np.flatnonzero(found.pixels)
    assert [found.right[b] / found.pixels[b] for b in filled] == pytest.approx(shares)
    assert [found.confidence[b] / found.pixels[b] / 1e6 for b in filled] == pytest.approx(confidences, abs=1e-6)
    truth = np.eye(CLASSES)[sample.truth]
    assert found.brier == pytest.approx(((p - truth) ** 2).sum(1).mean(), abs=1e-6)


def test_a_network_that_is_always_right_is_not_made_infinitely_sure() -> None:
    truth = np.arange(100, dtype=np.uint8) % CLASSES

    found = fit(Sample(np.eye(CLASSES, dtype=np.float32)[truth], truth))

    assert 0.02 <= found.temperature < 0.1


def test_a_share_of_the_marked_pixels_is_drawn_by_the_number_of_the_tile() -> None:
    marked = np.arange(1000) % 2 == 0

    some = drawn(marked, 0.1, 7)

    assert len(some) == len(set(some.tolist())) == 50
    assert marked[some].all()
    assert some.tolist() == drawn(marked, 0.1, 7).tolist()
    assert some.tolist() != drawn(marked, 0.1, 8).tolist()
    assert drawn(marked, 1.0, 7).tolist() == list(range(0, 1000, 2))


def test_nothing_is_fitted_on_tiles_that_scores_are_taken_on() -> None:
    check_split("val", "strict")
    check_split("train", "paper")
    with pytest.raises(UsageError, match=r"under protocol paper val is the test split.*--calibrate-on train"):
        check_split("val", "paper")
    with pytest.raises(UsageError, match="not fitted on the test split"):
        check_split("test", "strict")


def test_a_long_training_split_is_calibrated_on_a_part_that_is_spread_over_it() -> None:
    chosen = tiles_of(MemoryTiles(numbered(3), count=2_000))

    assert (len(chosen), chosen[0], chosen[1], chosen[-1]) == (TRAIN_TILES, 0, 20, 1980)
    assert list(tiles_of(MemoryTiles(numbered(3), count=6))) == list(range(6))


def test_a_run_is_calibrated_on_a_split_tile_by_tile(tmp_path: Path) -> None:
    """The network says c0 with a logit of 1 everywhere; a third of the pixels are c0."""
    tiles = MemoryTiles(numbered(3), split="val", count=6)
    config = configure("specsar-former-small", 2, 1, labels=3)
    network = spec("specsar-former-small").network(config)
    with torch.no_grad():
        network.decoder.classify.weight.zero_()
        network.decoder.classify.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    folder = RunFolder(tmp_path)
    folder.write_config(RunConfig("0", "specsar-former-small", to_mapping(config), {}, DataCard.of(tiles)))
    folder.write_weights("model.safetensors", network.state_dict())
    told: list[tuple[int, int]] = []

    found = calibrate(tmp_path, tiles, workers=0, device="cpu", on_tile=lambda *done: told.append(done))

    counts = sum(np.bincount(tiles[place].label.ravel(), minlength=3)[:3] for place in range(6))
    assert found.pixels == counts.sum()
    assert (found.split, found.tiles, found.classes, told[-1]) == ("val", 6, ("c0", "c1", "c2"), (6, 6))
    # The best that one confidence can be is the share of its pixels that are right.
    share = counts[0] / counts.sum()
    mean = found.probabilities(torch.tensor([[1.0, 0.0, 0.0]]))[0].amax().item()
    assert mean == pytest.approx(max(share, 1 / 3), abs=0.02)
    assert found.after.ece <= 0.05
    assert not (tmp_path / "calibration.json").exists()
