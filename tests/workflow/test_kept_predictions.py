"""Predictions beside the page: kept, read, forgotten."""

from pathlib import Path

import numpy as np
from dwplus.workflow.pages.kept_predictions import KeptPredictions


def test_what_is_kept_is_read_until_a_page_no_longer_shows_it(tmp_path: Path) -> None:
    first, indices = KeptPredictions(tmp_path / "kept"), np.array([[0, 8], [255, 3]], np.uint8)
    one, two = first.key("weights", "tile"), first.key("weights", "other tile")
    assert first.get(one) is None
    for key in (one, two):
        first.put(key, indices)

    later = KeptPredictions(tmp_path / "kept")
    assert np.array_equal(later.get(one), indices)
    later.forget_others()

    assert [path.stem for path in (tmp_path / "kept").iterdir()] == [one]


def test_damaged_files_and_folders_that_cannot_be_made_cost_time_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"half")
    (tmp_path / "file").write_text("")

    assert KeptPredictions(tmp_path).get("a") is None
    nowhere = KeptPredictions(tmp_path / "file")
    nowhere.put("a", np.zeros((2, 2), np.uint8))
    nowhere.forget_others()
    assert nowhere.get("a") is None
