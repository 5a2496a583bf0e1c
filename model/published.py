"""Dynamic World's own network: its published variables become a run that can be scored.

The published network reads nine bands of Sentinel-2 Level-1C: log(0.005 DN + 1), less a, over b, then sigmoid(5 x - 1),
with an a and a b for each band. A run of it takes a and b for mean and deviation of ``input_scaling = log``; the rest
is the network's own setting ``squashed``. The weights are not part of this package: ``tensor_bundle`` reads the files
of google/dynamicworld (model/forward/variables, Apache-2.0) from a folder of the user. Comes before ``score``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..pipeline.errors import DataError, UsageError
from ..pipeline.files.atomic import sha256_of
from ..pipeline.spec.bands import L1C_BANDS
from ..pipeline.spec.version import __version__
from .baselines.dynamic_world import DynamicWorldConfig, DynamicWorldNet
from .config import to_mapping
from .run_config import DataCard, Published, RunConfig
from .run_files import write_text
from .runs import WEIGHTS, RunFolder, check_numbers
from .tensor_bundle import DATA_FILE, INDEX_FILE, read_bundle

SOURCE = "google/dynamicworld"
"""Where the pixels of its training came from, as far as a run names it: the publishers' own."""

NETWORK = "dynamic-world-fcn"
"""Its name in the registry."""

INPUT_SCALING: dict[str, tuple[float, float]] = {
    "B2": (1.7417268007636313, 2.023298706048351),
    "B3": (1.7261204997060209, 2.038905204308012),
    "B4": (1.6798346251414997, 2.179592821212937),
    "B5": (1.7734969472909623, 2.2890068333026603),
    "B6": (2.289154079164943, 2.6171674549378166),
    "B7": (2.382939712192371, 2.773418590375327),
    "B8": (2.3828939530384052, 2.7578332604178284),
    "B11": (2.1952484264967844, 2.789092484314204),
    "B12": (1.554812948247501, 2.4140534947492487),
}
"""(a, b) by band. Source: google/dynamicworld, single_image_runner.ipynb (30th and 70th percentile of the logarithm;
the 70th itself divides, not the spread)."""

_LICENCES = ("LICENSE", "NOTICE")
_PLACES = ("", "variables", "forward/variables", "model/forward/variables")


@dataclass(frozen=True)
class _Layer:
    """A convolution and its BatchNorm, by the numbers of their first variables; ``norm`` is None for the last layer."""

    name: str
    kernel: int
    norm: int | None
    depthwise: bool = False


def _separable(name: str, *numbers: int) -> tuple[_Layer, _Layer]:
    one, one_norm, three, three_norm = numbers
    return _Layer(f"{name}.0", one, one_norm), _Layer(f"{name}.1", three, three_norm, depthwise=True)


_LAYERS: tuple[_Layer, ...] = (
    _Layer("stem", 0, 2),
    *_separable("encoder.0.steps.0", 6, 8, 12, 14),
    *_separable("encoder.0.steps.1", 18, 20, 24, 26),
    *_separable("encoder.0.steps.2", 30, 32, 36, 40),
    _Layer("encoder.0.shortcut", 38, 44),
    *_separable("encoder.1.steps.0", 48, 50, 54, 56),
    *_separable("encoder.1.steps.1", 60, 62, 66, 68),
    *_separable("encoder.1.steps.2", 72, 74, 84, 88),
    _Layer("encoder.1.shortcut", 86, 92),
    *_separable("skip", 78, 80, 96, 98),
    *_separable("decoder.steps.0", 102, 104, 108, 110),
    *_separable("decoder.steps.1", 114, 116, 120, 122),
    *_separable("decoder.steps.2", 126, 128, 132, 136),
    _Layer("decoder.shortcut", 134, 140),
    _Layer("head.classify", 144, None),
)
"""Which variables a layer has, in the published graph. Last step and shortcut of a block are parallel: both
convolutions are numbered before both BatchNorms."""

_OF_NORM = ("weight", "bias", "running_mean", "running_var")


def import_dynamic_world(given: Path, run_dir: Path) -> RunConfig:
    """Make a run of the published network; its settings.

    Args:
        given: folder with the two files of variables, or one above it (``model/forward`` of google/dynamicworld).
        run_dir: where the run's folder is made; one of the same weights is left as it is.

    Raises:
        DataError: the files are not there, damaged, or those of another network.
        UsageError: another run has that name.
    """
    folder = variables_folder(given)
    state = published_state(read_bundle(folder))
    config = _config(sha256_of((folder / INDEX_FILE).read_bytes() + (folder / DATA_FILE).read_bytes()))
    run = RunFolder(run_dir)
    if run.started and run.read_config().published != config.published:
        raise UsageError(f"{run_dir} is another run; choose another --name")
    for name in _LICENCES:
        if (path := _beside(folder, given, name)) is not None:
            text = path.read_text(encoding="utf-8", errors="replace")
            run.write(name, partial(write_text, text=text))
    run.write_config(config)
    run.write_weights(WEIGHTS, state)
    return config


def variables_folder(given: Path) -> Path:
    """The folder of the two files, which is ``given`` or lies below it.

    Raises:
        DataError: there is none.
    """
    for place in _PLACES:
        if (given / place / INDEX_FILE).is_file():
            return given / place
    raise DataError(
        f"{given} holds no {INDEX_FILE}: name the folder model/forward of google/dynamicworld (git clone "
        "https://github.com/google/dynamicworld), or the one that holds its variables"
    )


def published_state(variables: Mapping[str, NDArray[np.generic]]) -> dict[str, Tensor]:
    """Weights of ``DynamicWorldNet`` by name, out of the published variables.

    Args:
        variables: by ``variables/<number>/.ATTRIBUTES/VARIABLE_VALUE``; kernels (rows, columns, in, out), depthwise
            ones (rows, columns, channels, 1).

    Raises:
        DataError: one is missing or of another shape, or there are others: these are not that network's.
    """
    found = dict(_weights(variables))
    expected = {name: value for name, value in _network().state_dict().items() if not name.endswith("batches_tracked")}
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise _foreign(f"{name} has {tuple(found[name].shape)} values, not {tuple(value.shape)}")
    if len(variables) != len(expected):
        raise _foreign(f"there are {len(variables)} variables, not {len(expected)}")
    check_numbers(found, where="the published variables")
    counters = {name: value for name, value in _network().state_dict().items() if name not in expected}
    return {**found, **counters}


def _weights(variables: Mapping[str, NDArray[np.generic]]) -> Iterator[tuple[str, Tensor]]:
    def values(number: int) -> Tensor:
        key = f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE"
        if key not in variables:
            raise _foreign(f"{key} is missing")
        return torch.from_numpy(variables[key].astype(np.float32))

    for layer in _LAYERS:
        convolution = layer.name if layer.norm is None else f"{layer.name}.0"
        kernel = values(layer.kernel)
        if kernel.ndim != 4:
            raise _foreign(f"the kernel of {layer.name} has {kernel.ndim} axes, not 4")
        # (rows, columns, in, out), or (rows, columns, channels, 1): to (out, in, rows, columns), (channels, 1, ...).
        order = (2, 3, 0, 1) if layer.depthwise else (3, 2, 0, 1)
        yield f"{convolution}.weight", kernel.permute(*order).contiguous()
        yield f"{convolution}.bias", values(layer.kernel + 1)
        if layer.norm is not None:
            for place, part in enumerate(_OF_NORM):
                yield f"{layer.name}.1.{part}", values(layer.norm + place)


def _foreign(why: str) -> DataError:
    return DataError(
        f"these are not the variables of Dynamic World's published network: {why}; name the folder model/forward of "
        "google/dynamicworld"
    )


_SETTINGS = DynamicWorldConfig(primary_bands=len(L1C_BANDS), auxiliary_bands=0, squashed=True)


def _network() -> DynamicWorldNet:
    """With no values: what is looked at are names and shapes, and counters, which are 0."""
    return DynamicWorldNet(_SETTINGS)


def _config(sha256: str) -> RunConfig:
    data = DataCard(
        primary=L1C_BANDS,
        auxiliary=(),
        protocol="strict",
        source=SOURCE,
        shards_hash="",
        tiles=0,
        class_counts=(0,) * _SETTINGS.classes,
        statistics=INPUT_SCALING,
        input_scaling="log",
        s2_level="L1C",
    )
    published = Published(origin=SOURCE, sha256=sha256, licence="Apache-2.0")
    return RunConfig(__version__, NETWORK, to_mapping(_SETTINGS), {"model": NETWORK}, data, published=published)


def _beside(folder: Path, given: Path, name: str) -> Path | None:
    """A licence file that lies with the variables, or above them up to what was named."""
    places = [folder, folder.parent, given]
    return next((path / name for path in places if (path / name).is_file()), None)
