"""Beginning with weights trained before: what is taken by name, what is frozen, what is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dwplus.model.config import to_mapping
from dwplus.model.loader import to_batch
from dwplus.model.registry import SMALL_SETTINGS, configure, settings_of, spec
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.score import load
from dwplus.model.settings import TrainConfig, profile
from dwplus.model.train import train
from dwplus.model.training.listener import Listener
from dwplus.model.transfer import Pretrained, counted_axes, encoder_names, initial_as_text, plan, sharing_blocks
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from dwplus.pipeline.spec.radar import Radar
from safetensors.torch import load_file, save_file
from support.tile_sets import MemoryTiles, table
from support.trainings import TINY
from torch import Tensor

CONFIG = TrainConfig(
    model="specsar-former-small",
    model_options=TINY,
    epochs=1,
    batch=2,
    batch_per_device=2,
    lr=5e-3,
    workers=0,
    device="cpu",
)
THREE = table("water", "wheat", "forest")
FOUR = table("forest", "water", "maize", "built")  # shares water and forest, at other places


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on three classes and bands B2, B8 and VV."""
    torch.set_num_threads(1)
    run_dir = tmp_path_factory.mktemp("runs") / "before"
    return train(CONFIG, dataset_train=MemoryTiles(THREE), run_dir=run_dir)


def begin(before: Path, run_dir: Path, tiles: MemoryTiles, **changes: Any) -> Path:
    settings = {"epochs": 0, "init": str(before), **changes}
    return train(replace(CONFIG, **settings), dataset_train=tiles, run_dir=run_dir)


def logits(run_dir: Path, tiles: MemoryTiles) -> Tensor:
    """(K, H, W) of the first tile, in double precision."""
    loaded = load(run_dir, device="cpu")
    batch = to_batch(tiles[0])
    with torch.no_grad():
        inputs = loaded.normaliser(batch.primary, batch.auxiliary)
        return loaded.network.double()(*(one.double() for one in inputs))[0]


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_without_an_epoch_the_logits_of_shared_classes_are_those_of_before(before: Path, tmp_path: Path) -> None:
    run_dir = begin(before, tmp_path / "run", MemoryTiles(FOUR))

    old, new = logits(before, MemoryTiles(THREE)), logits(run_dir, MemoryTiles(THREE))

    # In double precision; a product of four columns sums in another order than one of three.
    for name in ("water", "forest"):
        there = old[THREE.names.index(name)]
        assert torch.allclose(new[FOUR.names.index(name)], there, rtol=0, atol=1e-12)
    assert not torch.allclose(new[FOUR.names.index("maize")], old[THREE.names.index("wheat")], atol=1e-3)


def test_the_same_classes_begin_as_the_whole_network(before: Path, tmp_path: Path) -> None:
    run_dir = begin(before, tmp_path / "run", MemoryTiles(THREE))

    old, new = (load_file(path / "model.safetensors") for path in (before, run_dir))
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_bands_are_taken_by_name_wherever_they_lie_and_new_ones_begin_anew(before: Path, tmp_path: Path) -> None:
    tiles = MemoryTiles(THREE, primary=("B8", "B3", "B2"))
    run_dir = begin(before, tmp_path / "run", tiles)

    old, new = (load_file(path / "model.safetensors") for path in (before, run_dir))
    name = next(name for name in old if name.startswith("embed_primary") and old[name].ndim == 4)
    assert torch.equal(new[name][:, 0], old[name][:, 1])  # B8
    assert torch.equal(new[name][:, 2], old[name][:, 0])  # B2
    assert not torch.equal(new[name][:, 1], old[name][:, 0])  # B3
    record = RunFolder(run_dir).read_config()
    assert record.initial is not None
    assert (record.initial.bands, record.initial.partly, record.initial.anew) == (("B8", "B2", "VV"), (name,), ())


def test_bands_that_are_read_as_before_keep_their_statistics(before: Path, tmp_path: Path) -> None:
    # Weights were trained on values that were normalised with these; a new band has those of its own data.
    class Brighter(MemoryTiles):
        @property
        def statistics(self):
            found = MemoryTiles.statistics.fget(self)  # type: ignore[attr-defined]
            for band in found.bands.values():
                band.mean = band.mean + 1
            return replace(found, bands={k: replace(v) for k, v in found.bands.items()})

    tiles = Brighter(THREE, primary=("B2", "B3"), auxiliary=())
    tiles.auxiliary = ("VH",)
    run_dir = begin(before, tmp_path / "run", tiles)

    statistics = RunFolder(run_dir).read_config().data.statistics
    assert statistics["B2"] == (0.3, 0.2)
    assert statistics["B3"] == (1.3, 0.2)


def test_a_class_that_maps_to_one_of_dynamic_world_begins_as_it(tmp_path: Path) -> None:
    before = train(CONFIG, dataset_train=MemoryTiles(DYNAMIC_WORLD), run_dir=tmp_path / "before")
    wheat, maize, built = table("wheat", "maize", "built").classes
    crops = (replace(wheat, dynamic_world="crops"), replace(maize, dynamic_world="crops"))
    mine = ClassTable("mine", (*crops, built), unlabelled=255)

    run_dir = begin(before, tmp_path / "run", MemoryTiles(mine))

    old, new = (load_file(path / "model.safetensors")["decoder.classify.bias"] for path in (before, run_dir))
    assert new.tolist() == [old[4], old[4], old[6]]  # crops, crops, built
    record = RunFolder(run_dir).read_config().initial
    assert record is not None
    assert (record.classes, record.mapped) == (("built",), (("wheat", "crops"), ("maize", "crops")))


@pytest.mark.parametrize("model", [f"{name}-small" for name in SMALL_SETTINGS if not name.startswith("smp")])
def test_every_network_begins_as_itself_and_keeps_its_shared_bands_and_classes(model: str) -> None:
    # Nothing is taken in part but what reads bands or gives classes, and nothing begins anew.
    def card(classes: ClassTable, primary: tuple[str, ...]) -> DataCard:
        bands = dict.fromkeys((*primary, "VV"), (0.1, 0.1))
        return DataCard(primary, ("VV",), "strict", "SANDBOX", "abc", 2, (1,) * len(classes), bands, classes)

    def run(data: DataCard) -> RunConfig:
        settings = configure(model, len(data.primary), 1, labels=len(data.classes))
        return RunConfig("0", model, to_mapping(settings), {}, data)

    there, same = run(card(THREE, ("B2", "B8"))), run(card(THREE, ("B2", "B8")))
    here = run(card(FOUR, ("B8", "B3", "B2")))
    weights = spec(model).network(settings_of(model, there.model_config, where="")).state_dict()
    old = Pretrained("before", "0", weights, there)

    itself = plan(model, settings_of(model, same.model_config, where=""), same.data, old)
    other = plan(model, settings_of(model, here.model_config, where=""), here.data, old)

    assert (itself.parts, itself.anew) == ({}, ())
    assert set(itself.whole) == set(weights)
    assert other.anew == ()
    assert (set(other.classes), set(other.bands)) == ({"water", "forest"}, {"B2", "B8", "VV"})
    axes = counted_axes(model, settings_of(model, here.model_config, where=""))[1]
    assert set(other.parts) == {name for name, counts in axes.items() if counts not in ({1: ("auxiliary_bands",)},)}
    assert 2 <= len(other.parts) <= 6


def test_a_file_of_weights_says_no_bands_and_no_classes(before: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(load_file(before / "model.safetensors"), file)

    record = RunFolder(begin(file, tmp_path / "run", MemoryTiles(THREE))).read_config()

    assert record.initial is not None
    assert record.initial.anew == ("decoder.classify.weight", "decoder.classify.bias")
    assert not record.initial.tiles_known
    torch.save(load_file(file), tmp_path / "weights.pt")
    assert len(begin(tmp_path / "weights.pt", tmp_path / "pt", MemoryTiles(THREE)).name) == 2


def test_weights_of_another_network_are_refused(before: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\d of the \d+ weights of pspnet-small are in it with the same name"):
        begin(before, tmp_path / "run", MemoryTiles(THREE), model="pspnet-small", model_options={})


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, UsageError, r"--init .*: there is no such run or file"),
        (b"half", DataError, r"cannot be read as weights"),
    ],
)
def test_what_holds_no_weights_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, error: type[Exception], message: str
) -> None:
    file = tmp_path / "weights.safetensors"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(error, match=message) as caught:
        begin(file, tmp_path / "run", MemoryTiles(THREE))
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_are_refused(before: Path, tmp_path: Path) -> None:
    state = load_file(before / "model.safetensors")
    state["decoder.classify.bias"][0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")

    with pytest.raises(DataError, match=r"decoder\.classify\.bias are not numbers"):
        begin(tmp_path / "nan.safetensors", tmp_path / "run", MemoryTiles(THREE))


def test_no_epoch_and_freezing_need_weights_to_begin_with() -> None:
    with pytest.raises(UsageError, match=r"epochs is 0; it must be .*--init"):
        TrainConfig(epochs=0)
    with pytest.raises(UsageError, match=r"freeze is encoder, .*--init"):
        TrainConfig(freeze="encoder")
    assert profile("sandbox", epochs=0, init="runs/one").epochs == 0


# --- how Sentinel-1 was made ------------------------------------------------------------------------------------------

YEAR = Radar("sigma0", "dB", None, ("ASCENDING", "DESCENDING"))
ONE_DATE = Radar("gamma0", "none", 1, ("ASCENDING",))


@pytest.fixture(scope="module")
def of_a_year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on yearly means of sigma0."""
    run_dir = tmp_path_factory.mktemp("runs") / "of_a_year"
    return train(CONFIG, dataset_train=MemoryTiles(THREE, radars=(YEAR,)), run_dir=run_dir)


@pytest.mark.parametrize(("before", "now", "fits"), [(3, 3, True), (3, 4, False), (None, 2, True), (None, 3, False)])
def test_weights_of_another_synthetic_planet_are_refused(
    tmp_path: Path, before: int | None, now: int, *, fits: bool
) -> None:
    """Runs of a version that recorded none were trained on version 2."""
    first = train(CONFIG, dataset_train=MemoryTiles(THREE, planet=before), run_dir=tmp_path / "first")

    if fits:
        assert RunFolder(begin(first, tmp_path / "run", MemoryTiles(THREE, planet=now))).complete
    else:
        with pytest.raises(UsageError, match=f"shows version {now} of the synthetic planet, not version {before or 2}"):
            begin(first, tmp_path / "run", MemoryTiles(THREE, planet=now))


def test_a_run_remembers_how_its_input_was_scaled_and_weights_keep_that_scaling(tmp_path: Path) -> None:
    on_logs = replace(CONFIG, input_scaling="log")
    first = train(on_logs, dataset_train=MemoryTiles(THREE), run_dir=tmp_path / "first")

    loaded = load(first, device="cpu")

    # DN 2000: log(1 + 0.005 x 2000) = 2.3979, mean 2.5 and deviation 0.8.
    value = loaded.normaliser.primary(torch.full((1, 2, 1, 1), 2000, dtype=torch.uint16))
    assert value[0, 0].item() == pytest.approx((2.3978953 - 2.5) / 0.8, abs=1e-5)
    with pytest.raises(UsageError, match="trained with input_scaling=log; train with --set input_scaling=log"):
        begin(first, tmp_path / "linear", MemoryTiles(THREE))
    assert RunFolder(begin(first, tmp_path / "log", MemoryTiles(THREE), input_scaling="log")).complete


def test_weights_that_were_trained_on_another_sentinel_1_are_refused(of_a_year: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        begin(of_a_year, tmp_path / "run", MemoryTiles(THREE, radars=(ONE_DATE,)))

    assert str(caught.value) == (
        f"--init {of_a_year}: its weights were trained on another Sentinel-1: the data set has gamma0, one date, "
        "ascending pass instead of sigma0, mean of all scenes in dB, both passes; name a run that was trained on one "
        "made like it, or accept the difference (--accept s1)"
    )
    assert not (tmp_path / "run").exists()


def test_another_sentinel_1_that_is_accepted_is_recorded_and_needs_no_word_when_resumed(
    of_a_year: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, init=str(of_a_year))
    tiles = MemoryTiles(THREE, radars=(ONE_DATE,))

    run_dir = train(config, dataset_train=tiles, run_dir=tmp_path / "run", accept_s1=True)
    train(config, dataset_train=tiles, run_dir=run_dir)  # complete: nothing to do

    record = RunFolder(run_dir).read_config()
    assert record.initial is not None
    difference = "s1: gamma0, one date, ascending pass instead of sigma0, mean of all scenes in dB, both passes"
    assert record.initial.accepted == (difference,)
    assert f"accepted: {difference}" in initial_as_text(record.initial, "runs/of_a_year")
    # Scores are taken on what the new weights were trained on.
    assert record.data.radars == (ONE_DATE,)


@pytest.mark.parametrize(
    "tiles",
    [
        MemoryTiles(THREE, radars=(YEAR,)),  # made alike
        MemoryTiles(THREE, auxiliary=("VH",), radars=(ONE_DATE,)),  # VV, which the weights know, is not read
    ],
)
def test_weights_that_see_no_other_sentinel_1_are_taken(of_a_year: Path, tmp_path: Path, tiles: MemoryTiles) -> None:
    run_dir = begin(of_a_year, tmp_path / "run", tiles)

    assert "accepted" not in json.loads((run_dir / "config.json").read_text())["initial"]


def test_weights_of_single_scenes_begin_a_training_on_composites_and_that_is_recorded(
    before: Path, tmp_path: Path
) -> None:
    run_dir = begin(before, tmp_path / "run", MemoryTiles(THREE, composite="median"))

    record = RunFolder(run_dir).read_config()
    assert record.initial is not None
    assert record.initial.accepted == ("s2: median composites of Sentinel-2, not single scenes",)
    assert record.data.composite == "median"


def test_weights_of_a_run_that_recorded_no_sentinel_1_are_taken(before: Path, tmp_path: Path) -> None:
    run_dir = begin(before, tmp_path / "run", MemoryTiles(THREE, radars=(ONE_DATE,)))

    assert RunFolder(run_dir).complete


# --- what is trained --------------------------------------------------------------------------------------------------


def test_a_frozen_encoder_stays_as_it_was_to_the_last_bit(before: Path, tmp_path: Path) -> None:
    run_dir = begin(before, tmp_path / "run", MemoryTiles(FOUR), epochs=1, freeze="encoder")

    old, new = (load_file(path / "model.safetensors") for path in (before, run_dir))
    changed = {
        name.split(".")[0]
        for name in old
        if old[name].shape != new[name].shape or not torch.equal(old[name], new[name])
    }
    assert changed == {"decoder"}


def test_norms_of_a_frozen_encoder_keep_their_statistics(tmp_path: Path) -> None:
    config = replace(CONFIG, model="dynamic-world-fcn-small", model_options={})
    before = train(config, dataset_train=MemoryTiles(THREE), run_dir=tmp_path / "before")
    frozen = replace(config, init=str(before), freeze="encoder")

    run_dir = train(frozen, dataset_train=MemoryTiles(FOUR), run_dir=tmp_path / "run")

    old, new = (load_file(path / "model.safetensors") for path in (before, run_dir))
    running = [name for name in old if name.startswith(("stem", "encoder")) and "running" in name]
    assert running
    assert all(torch.equal(old[name], new[name]) for name in running)


def test_weights_of_an_encoder_that_begin_anew_are_trained_though_it_is_frozen(before: Path, tmp_path: Path) -> None:
    tiles = MemoryTiles(THREE, primary=("B2", "B8", "B3"))
    still = begin(before, tmp_path / "still", tiles)
    run_dir = begin(before, tmp_path / "run", tiles, epochs=1, freeze="encoder")

    old, new = (load_file(path / "model.safetensors") for path in (still, run_dir))
    changed = {name for name in old if not torch.equal(old[name], new[name]) and not name.startswith("decoder")}
    assert {name.split(".")[0] for name in changed} == {"embed_primary"}
    assert all(old[name].ndim == 4 for name in changed)


def test_the_encoder_learns_at_its_own_rate(before: Path, tmp_path: Path) -> None:
    # One step of AdamW moves a weight by about its learning rate: a hundredth of it in the encoder.
    moved = {}
    start = begin(before, tmp_path / "start", MemoryTiles(THREE))
    for factor in (1.0, 0.01):
        config = replace(CONFIG, init=str(before), lr_encoder=factor, weight_decay=0.0, batch=6)
        run_dir = train(config, dataset_train=MemoryTiles(THREE), run_dir=tmp_path / f"run-{factor}")
        old, new = (load_file(path / "model.safetensors") for path in (start, run_dir))
        moved[factor] = {name: float((new[name] - old[name]).abs().max()) for name in old if "running" not in name}

    name = next(name for name in moved[1.0] if name.startswith("stages") and name.endswith("weight"))
    assert moved[0.01][name] == pytest.approx(0.01 * moved[1.0][name], rel=0.05)
    assert moved[0.01]["decoder.classify.weight"] == pytest.approx(moved[1.0]["decoder.classify.weight"], rel=0.05)


def test_a_training_with_two_rates_that_was_stopped_ends_as_if_nothing_had_happened(
    before: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, init=str(before), lr_encoder=0.1, epochs=2)
    whole = train(config, dataset_train=MemoryTiles(FOUR), run_dir=tmp_path / "whole")

    def stop(now: Any) -> None:
        if now.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset_train=MemoryTiles(FOUR), run_dir=tmp_path / "run", on_step=stop)
    train(config, dataset_train=MemoryTiles(FOUR), run_dir=tmp_path / "run")

    one, other = (load_file(path / "model.safetensors") for path in (whole, tmp_path / "run"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_encoder_of_every_network_is_known() -> None:
    for name in SMALL_SETTINGS:
        if name.startswith("smp"):
            continue
        with torch.device("meta"):
            network = spec(f"{name}-small").network(SMALL_SETTINGS[name])
        names = encoder_names(network, name)
        assert names
        assert not any(part in one.split(".")[0] for one in names for part in ("decoder", "head") if part != "head")
        share = sum(p.numel() for n, p in network.named_parameters() if n in names)
        assert 0 < share < sum(p.numel() for p in network.parameters())


def test_a_network_without_an_encoder_says_so() -> None:
    with pytest.raises(UsageError, match="net has no part called encoder or backbone"):
        encoder_names(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1)), "net")


# --- what is recorded -------------------------------------------------------------------------------------------------


class Heard(Listener):
    def __init__(self) -> None:
        self.run: RunConfig | None = None

    def begins(self, run: RunConfig, epochs: int) -> None:
        assert epochs >= 0
        self.run = run


def test_a_run_records_its_tiles_and_the_hash_of_the_weights_it_began_with(before: Path, tmp_path: Path) -> None:
    run_dir = begin(before, tmp_path / "run", MemoryTiles(FOUR, first=100), epochs=1)

    config = json.loads((run_dir / "config.json").read_text())
    sums = (before / "SHA256SUMS").read_text().splitlines()
    assert f"{config['initial']['sha256']}  model.safetensors" in sums
    tiles = json.loads((run_dir / "tiles.json").read_text())
    assert [row[0] for row in tiles["trained_on"]] == [f"train-{number}" for number in range(100, 106)]
    assert [row[0] for row in tiles["pretrained_on"]] == [f"train-{number}" for number in range(6)]
    assert tiles["pretrained_on"][0][1:] == pytest.approx([3.0, 45.15], abs=0.05)


def test_a_run_from_scratch_is_recorded_without_a_beginning(before: Path) -> None:
    assert "initial" not in json.loads((before / "config.json").read_text())


def test_tiles_that_share_a_block_with_tiles_held_out_are_named(before: Path, tmp_path: Path) -> None:
    # Six tiles from 3.000 to 3.325 E, 0.065 degrees apart; blocks of 0.1 degrees.
    heard = Heard()
    held_out = MemoryTiles(THREE, "test", 1, first=2).tiles  # at 3.13 E: the block from 3.1 to 3.2
    config = replace(CONFIG, init=str(before))

    train(
        config,
        dataset_train=MemoryTiles(THREE, first=100),
        run_dir=tmp_path / "run",
        listener=heard,
        held_out=held_out,
        block_at=lambda lon, lat: (int(lon / 0.1), int(lat / 0.1)),
    )

    assert heard.run is not None
    assert heard.run.initial is not None
    assert heard.run.initial.shared_blocks == ("train-2", "train-3")
    lines = initial_as_text(heard.run.initial, "runs/before")
    assert lines[-1] == (
        "2 tiles that runs/before was trained on share a block with val or test tiles (train-2, train-3): scores there "
        "are too good"
    )


def test_blocks_are_counted_from_greenwich_and_the_equator() -> None:
    tiles = MemoryTiles(THREE, "test", 1).tiles  # 3.003 E, 45.15 N
    places = [("same", 2.1, 44.1), ("east", 4.1, 45.1), ("south", 3.0, 43.9), ("far", -3.0, -45.1)]

    assert sharing_blocks(places, tiles) == ("same",)


def test_a_resumed_run_needs_the_weights_no_more(before: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    train(replace(CONFIG, seed=1), dataset_train=MemoryTiles(THREE), run_dir=gone)
    run_dir = begin(gone, tmp_path / "run", MemoryTiles(FOUR), epochs=1)
    for file in gone.rglob("*"):
        if file.is_file():
            file.unlink()

    begin(gone, run_dir, MemoryTiles(FOUR), epochs=1)  # complete: nothing to do
    with pytest.raises(UsageError, match=r"holds a run with another initial\.sha256;"):
        begin(before, run_dir, MemoryTiles(FOUR), epochs=1)


def test_predictions_of_a_run_that_began_with_another_are_numbers(before: Path, tmp_path: Path) -> None:
    run_dir = begin(before, tmp_path / "run", MemoryTiles(FOUR), epochs=1, freeze="encoder", labels_share=0.5)

    assert RunFolder(run_dir).read_config().data.tiles == 3
    assert np.isfinite(logits(run_dir, MemoryTiles(FOUR)).numpy()).all()
