"""Pixels of each class in single tiles: counted once, and again where a tile or the classes have changed."""

from dataclasses import replace

import numpy as np
import pytest
from dwplus.model.label_share import part_of
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.manifest import write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset, Sample
from dwplus.pipeline.errors import MachineError
from dwplus.pipeline.progress import Silent
from support.fixture_types import LayOut
from support.tile_sets import numbered


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=5, test=1, size=16)


def ready(root: DataRoot) -> DataRoot:
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    return root


class Watched(Dataset):
    """Remembers which tiles were read."""

    def _counting_all(self, index: int) -> Sample:
        self.__dict__.setdefault("read", []).append(self.rows[index].tile.id)
        return super()._counting_all(index)

    @property
    def seen(self) -> list[str]:
        return self.__dict__.get("read", [])


def test_a_second_share_of_the_labels_reads_nothing(root: DataRoot) -> None:
    first, second, plain = (Watched(root, split="train") for _ in range(3))

    part = part_of(first, 0.5)
    again = part_of(second, 0.5)

    assert sorted(first.seen) == sorted(tile.id for tile in first.tiles)
    assert second.seen == []
    assert again.tiles_hash == part.tiles_hash
    assert again.statistics.class_counts == part.statistics.class_counts
    counted = [np.bincount(sample.label.ravel(), minlength=256)[:9] for sample in plain]
    np.testing.assert_array_equal(second.class_pixels(), counted)
    assert sum(part.statistics.class_counts) == sum(
        int((sample.label != 255).sum()) for sample in plain if sample.tile_id in {tile.id for tile in part.tiles}
    )


def test_what_was_changed_or_damaged_is_counted_again(root: DataRoot) -> None:
    Dataset(root, split="train").class_pixels()
    text = root.class_pixels_file.read_text()

    root.class_pixels_file.write_text(text[:-40])
    damaged = Watched(root, split="train")
    damaged.class_pixels()
    tile = damaged.rows[0].tile.id
    manifest = root.manifest()
    rows = tuple(replace(r, label_sha256="f" * 64) if r.tile.id == tile else r for r in manifest.rows)
    write_manifest(root.folder, replace(manifest, rows=rows))
    relabelled = Watched(ready(root), split="train")
    relabelled.class_pixels()

    assert len(damaged.seen) == len(damaged)
    assert relabelled.seen == [tile]


def test_other_classes_are_counted_anew(root: DataRoot) -> None:
    Dataset(root, split="train").class_pixels()
    write_manifest(root.folder, replace(root.manifest(), classes=numbered(40)))

    counts = Dataset(ready(root), split="train").class_pixels()

    assert counts.shape[1] == 40


def test_a_data_set_that_may_not_be_written_is_counted_each_time(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MachineError("read-only file system")

    monkeypatch.setattr("dwplus.pipeline.dataset.class_pixels.write_record", refuse)

    assert Dataset(root, split="train").class_pixels().sum() > 0
    assert not root.class_pixels_file.exists()
