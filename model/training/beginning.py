"""How a training begins: everything that decides what it learns, and whether its folder holds the same run.

Before the first batch is read; ``trainer`` is made of what is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ...pipeline.spec.tiles import Tile
from ...pipeline.spec.version import __version__
from ..config import to_mapping
from ..loader import TileSet
from ..missing import check_two_inputs
from ..registry import configure, settings_of, spec
from ..run_config import DataCard, RunConfig, differing_keys
from ..runs import RunFolder
from ..settings import TrainConfig
from ..transfer import BlockAt, Plan, Pretrained, begun, check_same_pixels, plan, read_pretrained, sharing_blocks


@dataclass(frozen=True)
class Beginning:
    """How a run begins: its settings; and weights trained before with where they go, where there are any to apply."""

    run: RunConfig
    before: Pretrained | None = None
    made: Plan | None = None


def beginning(
    config: TrainConfig,
    run: RunConfig,
    held: RunConfig | None,
    held_out: Sequence[Tile],
    block_at: BlockAt,
    *,
    accept_s1: bool = False,
) -> Beginning:
    """How a run begins, or began where ``held`` is what its folder holds.

    Args:
        config, run: settings, and what follows from them and the data.
        held: what the folder holds of it, where it has progress.
        held_out: tiles that weights to begin with should not have been trained on.
        block_at: gives the geographic blocks by which that is judged.
        accept_s1: begin with weights that were trained on Sentinel-1 that was made in another way.

    Raises:
        UsageError: weights to begin with do not fit, or were trained on another Sentinel-1.
    """
    if config.init is None:
        return Beginning(run)
    if held is not None and held.initial is not None and held.train.get("init") == config.init:
        # A checkpoint has the weights; the run that they came from may be gone by now.
        kept = replace(run.data, statistics=held.data.statistics)
        return Beginning(replace(run, initial=held.initial, data=kept))
    before = read_pretrained(config.init)
    settings = settings_of(run.model, run.model_config, where="model")
    made = plan(run.model, settings, run.data, before, tokens=run.tokens, by_state=run.by_state)
    accepted = check_same_pixels(run.data, made, before, accept_s1=accept_s1)
    shared = sharing_blocks(before.tiles or (), held_out, block_at)
    return Beginning(begun(run, made, before, shared, accepted), before, made)


def resolve(config: TrainConfig, dataset_train: TileSet, dataset_val: TileSet | None) -> RunConfig:
    """Everything that decides what a run learns.

    Raises:
        UsageError: the two data sets do not belong together, or the model's settings do not fit.
    """
    data = DataCard.of(dataset_train, config.input_scaling)
    if dataset_val is not None:
        other = DataCard.of(dataset_val, config.input_scaling)
        for name in ("primary", "auxiliary", "protocol", "source", "shards_hash"):
            if getattr(data, name) != getattr(other, name):
                raise UsageError(
                    f"{name} of the validation split is {getattr(other, name)}, of the training split "
                    f"{getattr(data, name)}; open both from one data root in the same way"
                )
        if difference := data.classes.difference(other.classes):
            raise UsageError(f"the training and the validation split have different classes: {difference}")
    _check_batch(config, data)
    if config.drops:
        check_two_inputs(data.auxiliary, "drop_auxiliary and drop_primary")
    shapes = {tile.shape for tile in dataset_train.tiles}
    if len(shapes) > 1 and config.crop_px is None:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(shapes))
        raise UsageError(f"the training tiles have several sizes ({listed} px): train on crops, --set crop_px=256")
    model_config = configure(
        config.model, len(data.primary), len(data.auxiliary), labels=len(data.classes), **config.model_options
    )
    return RunConfig(
        dwplus=__version__,
        model=config.model,
        model_config=to_mapping(model_config),
        train=config.to_dict(),
        data=data,
        validation=None if dataset_val is None else dataset_val.split,
        tokens=bool(config.drops),
        by_state=bool(config.drops),
    )


def _check_batch(config: TrainConfig, data: DataCard) -> None:
    fewest = spec(config.model).min_batch
    if config.batch_per_device < fewest:
        raise UsageError(
            f"{config.model} needs {fewest} samples at a time in training (a norm of its sees one value per sample); "
            f"batch_per_device is {config.batch_per_device}: raise it"
        )
    if data.tiles < fewest:
        raise UsageError(f"{config.model} needs {fewest} training tiles; there are {data.tiles}")


def check_same_run(folder: RunFolder, run: RunConfig) -> None:
    """Refuse to resume a run under other settings.

    Raises:
        UsageError: the folder holds a run whose settings differ; the message names the keys.
    """
    # A run that failed before its first checkpoint may be started with other settings.
    if not folder.started or not folder.has_progress:
        return
    # Settings that an earlier version did not know yet had their defaults.
    held = folder.read_config()
    if difference := run.data.classes.difference(held.data.classes):
        raise UsageError(
            f"{folder.path} holds a run with other classes: {difference}; train under another name, or delete this one"
        )
    # Titles and colours of classes may change.
    keys = differing_keys(
        *(
            {
                **replace(one, data=replace(one.data, classes=DYNAMIC_WORLD)).to_dict(),
                "train": {**TrainConfig().to_dict(), **one.train},
            }
            for one in (run, held)
        )
    )
    if keys:
        other = sorted({"data" if key.startswith("data.") else key for key in keys})
        raise UsageError(
            f"{folder.path} holds a run with another {', '.join(other)}; train under another name, or delete this one"
        )
