"""What ``import dwplus`` offers, what it costs, and that a plain torch ``DataLoader`` stacks samples."""

import subprocess
import sys
import time

import dwplus
import numpy as np
import pytest
import torch
from dwplus.model.config import to_mapping
from dwplus.model.registry import configure, spec
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError
from support.fixture_types import LayOut
from torch.utils.data import DataLoader

BANDS = {"primary": ("B4", "B3", "B2"), "auxiliary": ("VV", "VH")}


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=4, test=2, size=32)


def test_importing_it_is_fast_and_loads_neither_torch_nor_earth_engine() -> None:
    code = "import sys, dwplus; print(sorted({'torch', 'ee', 'numpy', 'rasterio'} & set(sys.modules)), dir(dwplus)[-1])"
    started = time.perf_counter()
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[] train"
    assert time.perf_counter() - started < 10  # seconds, for a machine under load; benchmarks/startup.py measures


def test_nine_names_are_imported_when_they_are_first_used() -> None:
    names = {"DataRoot", "Dataset", "Recipe", "load", "predict", "profile", "score", "show", "train"}
    assert set(dwplus.__all__) == names | {"__version__"}
    assert dwplus.Recipe().half_window_days == 180
    for name in dwplus.__all__:
        assert getattr(dwplus, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Datasets'"):
        dwplus.Datasets  # noqa: B018 - the look-up is the test


def test_paths_are_text_or_path(root: DataRoot) -> None:
    by_text = dwplus.Dataset(str(root.folder), split="train", **BANDS)
    by_path = dwplus.Dataset(root.folder, split="train", **BANDS)

    assert by_text.tiles_hash == by_path.tiles_hash == dwplus.Dataset(root, split="train", **BANDS).tiles_hash
    assert str(dwplus.DataRoot.at(str(root.folder))) == str(root.folder)


def test_a_plain_loader_stacks_samples(root: DataRoot) -> None:
    dataset = dwplus.Dataset(root, split="train", **BANDS)

    batch = next(iter(DataLoader(dataset, batch_size=2)))

    assert batch.primary.shape == (2, 3, 32, 32)
    assert (batch.primary.dtype, batch.label.dtype) == (torch.uint16, torch.uint8)
    assert list(batch.tile_id) == [tile.id for tile in dataset.tiles[:2]]
    np.testing.assert_array_equal(batch.auxiliary[1].numpy(), dataset[1].auxiliary)


def test_a_run_is_loaded_by_its_path_and_predicts_a_sample(root: DataRoot) -> None:
    dataset = dwplus.Dataset(root, split="test", **BANDS)
    config = configure("specsar-former-small", 3, 2)
    folder = RunFolder(root.runs / "one")
    data = DataCard.of(dwplus.Dataset(root, split="train", **BANDS))
    folder.write_config(RunConfig("0.1.0", "specsar-former-small", to_mapping(config), {}, data))
    folder.write_weights("model.safetensors", spec("specsar-former-small").network(config).state_dict())

    loaded = dwplus.load(str(root.runs / "one"), device="cpu")
    classes = dwplus.predict(loaded, dataset[0])

    assert (classes.dtype, classes.shape, classes.max() <= 8) == (np.uint8, (32, 32), True)
    np.testing.assert_array_equal(dwplus.predict(root.runs / "one", dataset[0]), classes)
    with pytest.raises(DataError, match=r"has 10 \+ 2 bands, the run was trained on 3 \+ 2"):
        dwplus.predict(loaded, dwplus.Dataset(root, split="test")[0])
