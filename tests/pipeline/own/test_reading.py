"""A file of features is read in the memory of a batch, whatever its size."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import shapely
from dwplus.pipeline.own import spill, vectors
from dwplus.pipeline.own.inputs_of import Asked, describe
from dwplus.pipeline.own.reading import Account, cuts_of
from support.own_labels import crops, fields


def write(folder: Path, number: int, corners: int = 300) -> Path:
    """So many polygons of many corners, 40 to a tile."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.stack([100 * np.cos(angles), 100 * np.sin(angles)], axis=1)
    places = [
        (408_000 + 630 * (n % 8) + 300 + 5100 * (n // 40), 5_508_000 + 900 * (n // 8 % 5) + 300) for n in range(number)
    ]
    frame = fields(shapely.polygons([ring + place for place in places]), ["wheat"] * number)
    path = folder / f"{number}.gpkg"
    frame.to_file(path)
    return path


def test_memory_does_not_grow_with_the_number_of_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given small batches and buffers, so that a small file already has many of them.
    monkeypatch.setattr(vectors, "_AT_ONCE", 16)
    monkeypatch.setattr(spill, "_BUFFERED", 1 << 16)
    asked = Asked(crops(tmp_path), column="landuse", year=2022, tile_px=510)

    def peak(number: int) -> float:
        file, account = describe(write(tmp_path, number), None, asked), Account()
        tracemalloc.start()
        tiles = sum(1 for _ in cuts_of(file, asked, account, tmp_path / "work"))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (tiles, account.features[1]) == (number // 40, number)
        return most

    peak(40)  # what is imported and cached once
    small, large = peak(120), peak(480)

    # 480 polygons of 300 corners are 2.3 MB.
    assert large < 1.3 * small


def test_pieces_on_their_way_are_removed(tmp_path: Path) -> None:
    asked = Asked(crops(tmp_path), column="landuse", year=2022)
    cuts = cuts_of(describe(write(tmp_path, 80), None, asked), asked, Account(), tmp_path / "work")

    next(cuts)
    assert (tmp_path / "work").is_dir()
    cuts.close()  # type: ignore[attr-defined]

    assert not (tmp_path / "work").exists()
