"""Dynamic World's published weights become a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F
from dwplus.model.published import INPUT_SCALING, import_dynamic_world
from dwplus.model.score import load
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.spec.bands import L1C_BANDS
from numpy.typing import NDArray
from support.dynamic_world import KERNELS, NORMS, Weights, made_up_variables
from support.fixture_types import LayOut, Run
from support.tensor_bundles import key, write_bundle


@pytest.fixture(scope="module")
def variables() -> Weights:
    return made_up_variables()


@pytest.fixture(scope="module")
def checkpoint(variables: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("model") / "variables", variables)


def graph(variables: Weights, dn: NDArray[np.int64]) -> NDArray[np.float32]:
    """The published graph as a plain list of calls: int (bands, H, W) -> logits (9, H, W)."""

    def values(number: int) -> torch.Tensor:
        return torch.from_numpy(variables[key(number)])

    def layer(x: torch.Tensor, number: int) -> torch.Tensor:
        kernel, depthwise = values(number), not KERNELS[number][2]
        weight = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
        x = F.conv2d(x, weight, values(number + 1), padding="same", groups=x.shape[1] if depthwise else 1)
        gamma, beta, mean, var = (values(NORMS[number] + n)[:, None, None] for n in range(4))
        return F.mish((x - mean) / (var + 1e-3).sqrt() * gamma + beta)

    def through(x: torch.Tensor, *numbers: int) -> torch.Tensor:
        for number in numbers:
            x = layer(x, number)
        return x

    a, b = (np.array(column)[:, None, None] for column in zip(*INPUT_SCALING.values(), strict=True))
    x = torch.from_numpy(1 / (1 + np.exp(1 - 5 * (np.log(0.005 * dn + 1) - a) / b)))[None].float()
    height, width = x.shape[2:]
    stem = F.interpolate(layer(x, 0), (height // 2, width // 2), mode="bilinear", antialias=True)
    one = through(stem, 6, 12, 18, 24, 30, 36) + layer(stem, 38)
    two = through(one, 48, 54, 60, 66, 72, 84) + layer(one, 86)
    both = torch.cat([two, through(stem, 78, 96)], dim=1)
    three = through(both, 102, 108, 114, 120, 126, 132) + layer(both, 134)
    features = F.normalize(F.interpolate(three, (height, width), mode="bilinear"), dim=1)
    return F.conv2d(features, values(144).permute(3, 2, 0, 1), values(145))[0].numpy()


def logits(run_dir: Path, dn: NDArray[np.integer]) -> NDArray[np.float32]:
    run = load(run_dir)
    nothing = torch.empty(1, 0, *dn.shape[1:], dtype=torch.uint16)
    with torch.inference_mode():
        found = run.network(*run.normaliser(torch.from_numpy(dn[None].astype(np.uint16)), nothing))
    return np.asarray(found[0])


def test_a_run_of_a_checkpoint_computes_what_the_published_graph_does(
    checkpoint: Path, variables: Weights, tmp_path: Path
) -> None:
    import_dynamic_world(checkpoint.parent, tmp_path / "run")
    dn = np.random.default_rng(2).integers(1, 6000, (9, 22, 27))

    np.testing.assert_allclose(logits(tmp_path / "run", dn), graph(variables, dn), atol=2e-4)


def test_a_run_says_whose_weights_it_is_and_what_it_reads(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint.parent / "NOTICE").write_text("Copyright of somebody")

    import_dynamic_world(checkpoint, tmp_path / "run")

    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["published"]["origin"] == "google/dynamicworld"
    assert (config["data"]["primary"], config["data"]["s2_level"]) == (list(L1C_BANDS), "L1C")
    assert (tmp_path / "run" / "NOTICE").read_text() == "Copyright of somebody"
    sums = (tmp_path / "run" / "SHA256SUMS").read_text()
    assert all(name in sums for name in ("NOTICE", "config.json", "model.safetensors"))


def test_importing_again_changes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    first = import_dynamic_world(checkpoint, tmp_path / "run")
    before = (tmp_path / "run" / "SHA256SUMS").read_text()

    assert import_dynamic_world(checkpoint, tmp_path / "run") == first
    assert (tmp_path / "run" / "SHA256SUMS").read_text() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found.pop(key(145)), "variables/145/.* is missing"),
        (lambda found: found.update({key(146): np.zeros(3, np.float32)}), "147 variables, not 146"),
        (lambda found: found.update({key(6): np.zeros((1, 1, 64, 95), np.float32)}), r"\(95, 64, 1, 1\) values, not"),
        (lambda found: found.update({key(6): np.zeros(6, np.float32)}), "1 axes, not 4"),
        (lambda found: found.update({key(7): np.full(96, np.nan, np.float32)}), "not numbers"),
    ],
)
def test_variables_of_another_network_are_one_line_and_nothing_is_written(
    variables: Weights, tmp_path: Path, change: object, words: str
) -> None:
    other = dict(variables)
    change(other)  # type: ignore[operator]

    with pytest.raises(DataError, match=words):
        import_dynamic_world(write_bundle(tmp_path / "variables", other), tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_another_run_of_that_name_stays(checkpoint: Path, variables: Weights, tmp_path: Path) -> None:
    import_dynamic_world(checkpoint, tmp_path / "run")
    other = write_bundle(tmp_path / "other", variables | {key(1): np.ones(64, np.float32)})

    with pytest.raises(UsageError, match="--name"):
        import_dynamic_world(other, tmp_path / "run")


def test_the_command_makes_a_run_and_says_whose_weights_it_is(checkpoint: Path, dwplus: Run, data_root: LayOut) -> None:
    data_root()

    code, printed, _ = dwplus("models", "import", "dynamic-world", str(checkpoint))

    assert code == 0
    assert "weights of google/dynamicworld (Apache-2.0)" in printed
    assert Path("data/sandbox/runs/dynamic-world/model.safetensors").is_file()


def test_a_folder_without_variables_is_one_line(dwplus: Run, data_root: LayOut, tmp_path: Path) -> None:
    data_root()

    code, _, said = dwplus("models", "import", "dynamic-world", str(tmp_path))

    assert code == 1
    assert "holds no variables.index" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("chip", "model", "offset"),
    [
        ("tm_282D_485L_3_3", "terramesh_282D_485L_3_3", 1000),  # of processing baseline 04.00 and later
        ("tm_38D_378R_2_3", "terramesh_38D_378R_2_3", 0),
    ],
)
def test_the_published_weights_give_the_published_probabilities(
    real_data: Path, tmp_path: Path, chip: str, model: str, offset: int
) -> None:
    import_dynamic_world(real_data / "dynamicworld_model", tmp_path / "run")
    with rasterio.open(real_data / "mini" / "chips" / chip / "S2L1C.tif") as file:
        dn = file.read([file.descriptions.index(band) + 1 for band in L1C_BANDS]).astype(int) - offset
    with rasterio.open(real_data / "chips" / model / "DWMODEL_probs_u8.tif") as file:
        wanted = file.read().astype(float)
    with rasterio.open(real_data / "chips" / model / "DWMODEL_label.tif") as file:
        label = file.read(1)

    found = torch.from_numpy(logits(tmp_path / "run", dn)).softmax(0).numpy()

    assert np.abs(255 * found - wanted).max() <= 0.5 + 1e-3  # they are stored in steps of 1/255
    np.testing.assert_array_equal(found.argmax(0), label)
