"""Missing inputs: what is lost, the learned token, training and scoring without an input."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dwplus.model.config import to_mapping
from dwplus.model.loader import Batch, collate, to_batch
from dwplus.model.missing import (
    ESTIMATES,
    INPUTS,
    TOKENS,
    Shares,
    TilesWithout,
    counting_either,
    drop_in_training,
    for_missing_inputs,
    lost_pixels,
    parse_shares,
    version_in_training,
)
from dwplus.model.registry import build, configure
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.score import load, predict, score
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.model.training import trainer
from dwplus.model.training.listener import Position
from dwplus.model.transfer import counted_axes, plan, read_pretrained
from dwplus.pipeline.dataset.samples import Sample
from dwplus.pipeline.errors import UsageError
from support.tile_sets import MemoryTiles
from support.trainings import CONFIG, TINY, TWO, result, train_here
from support.two_processes import in_two_processes

HALVES = Shares(auxiliary=0.25, primary=0.25)
DROPS = {"drop_auxiliary": 0.3, "drop_primary": 0.3}
TEST = MemoryTiles(TWO, split="test", count=4, first=80)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained with missing inputs."""
    return train_here(tmp_path_factory.mktemp("runs") / "gaps", **DROPS)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not."""
    return train_here(tmp_path_factory.mktemp("runs") / "usual", epochs=1)


def stop_midway(now: Position) -> None:
    """End a training within its second epoch."""
    if (now.epoch, now.step) == (2, 2):
        raise KeyboardInterrupt


def masks(shares: Shares, *, samples: int = 1500, side: int = 16) -> np.ndarray:
    """bool (samples, 2, H, W)."""
    return np.stack([lost_pixels((side, side), shares, seed=5, number=number) for number in range(samples)])


def batch_of(count: int = 4) -> Batch:
    tiles = MemoryTiles(TWO, count=count)
    return collate([to_batch(tiles[i], i) for i in range(count)])


def absent(stored: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> bool (B, H, W): no band has data."""
    return (stored.view(torch.int16) == 0).all(1)


# --- which pixels lose an input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("auxiliary", "primary"), [(0.25, 0.25), (0.1, 0.0), (0.0, 0.6), (0.7, 0.3)])
def test_each_input_is_lost_in_the_share_that_is_asked_for_and_never_both(auxiliary: float, primary: float) -> None:
    lost = masks(Shares(auxiliary, primary))

    assert lost.mean(axis=(0, 2, 3)).tolist() == pytest.approx([auxiliary, primary], abs=0.04)
    assert not lost.all(axis=1).any()


def test_whole_tiles_edges_and_patches_are_lost() -> None:
    lost = masks(HALVES).any(axis=1)
    share = lost.mean(axis=(1, 2))

    # Half of the tiles lose nothing or all, half of these all; each of the others loses a part.
    assert np.mean(share == 1) == pytest.approx(0.25, abs=0.04)
    assert np.mean((share > 0) & (share < 1)) == pytest.approx(0.5, abs=0.04)
    # A half plane changes at most once along any row and column; patches change more often.
    turns = np.array([max(_turns(one), _turns(one.T)) for one in lost[(share > 0.3) & (share < 0.7)]])
    assert np.mean(turns <= 1) == pytest.approx(0.5, abs=0.15)
    assert turns.max() >= 2


def _turns(one: np.ndarray) -> int:
    return int(np.abs(np.diff(one.astype(int), axis=1)).sum(axis=1).max())


def test_all_of_an_input_is_lost_where_its_share_is_one() -> None:
    lost = masks(Shares(primary=1.0), samples=20)

    assert lost[:, INPUTS.index("primary")].all()
    assert not lost[:, INPUTS.index("auxiliary")].any()


def test_what_is_lost_depends_on_seed_epoch_number_and_how_often_it_came_before() -> None:
    def drawn(**change: int) -> bytes:
        of = {"seed": 1, "epoch": 2, "number": 0, "before": 0} | change
        return b"".join(lost_pixels((8, 8), HALVES, **of | {"number": n}).tobytes() for n in range(10))

    assert drawn() == drawn()
    assert len({drawn(), drawn(seed=2), drawn(epoch=3), drawn(before=1)}) == 4


def test_the_cut_into_micro_batches_changes_nothing() -> None:
    together = drop_in_training(batch_of(4), HALVES, seed=0, epoch=3)
    tiles = MemoryTiles(TWO, count=4)
    apart = [drop_in_training(to_batch(tiles[i], i), HALVES, seed=0, epoch=3) for i in range(4)]

    assert torch.equal(together.primary, torch.cat([one.primary for one in apart]))
    assert torch.equal(together.auxiliary, torch.cat([one.auxiliary for one in apart]))
    assert bool(absent(together.primary).any() | absent(together.auxiliary).any())


def test_no_pixel_loses_the_last_input_that_it_has() -> None:
    # Given tiles whose Sentinel-1 lacks the left half, and whose Sentinel-2 lacks the upper half.
    batch = batch_of(6)
    batch.auxiliary[..., :16] = 0
    batch.primary[:, :, :16] = 0
    none = absent(batch.primary) & absent(batch.auxiliary)

    for epoch in range(10):
        dropped = drop_in_training(batch, Shares(0.5, 0.5), seed=0, epoch=epoch)

        assert torch.equal(absent(dropped.primary) & absent(dropped.auxiliary), none)
        assert torch.equal(dropped.label, batch.label)
    assert drop_in_training(batch, Shares(), seed=0, epoch=0) is batch


def test_views_are_the_complete_samples_and_those_without_each_input() -> None:
    # Given all of each input's view: a third of what is computed.
    shares = Shares(auxiliary=1 / 3, primary=1 / 3)

    complete, no_auxiliary, no_primary = (
        version_in_training(batch_of(), shares, view=view, seed=0, epoch=3) for view in range(3)
    )

    assert all(torch.equal(mine, given) for mine, given in zip(complete, batch_of(), strict=True))
    assert absent(no_auxiliary.auxiliary).all()
    assert torch.equal(no_auxiliary.primary, complete.primary)
    assert absent(no_primary.primary).all()
    assert torch.equal(no_primary.auxiliary, complete.auxiliary)


def test_over_all_views_each_input_is_lost_in_the_share_that_is_asked_for() -> None:
    computed = [
        version_in_training(batch_of(), Shares(0.25, 0.1), view=view, seed=0, epoch=epoch)
        for epoch in range(60)
        for view in range(3)
    ]

    lost = [torch.cat([absent(getattr(one, name)) for one in computed]).float().mean() for name in INPUTS]
    assert lost == pytest.approx([0.25, 0.1], abs=0.03)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "drop_views: no input is dropped; give drop_auxiliary or drop_primary a share"),
        ({"drop_primary": 0.4, "drop_auxiliary": 0.1}, "drop_primary is 0.4; .* it must be 0.3333 at most"),
        ({"drop_auxiliary": 0.6}, "drop_auxiliary is 0.6; .* each of the 2 views .* it must be 0.5 at most"),
    ],
)
def test_views_without_a_share_or_of_more_than_there_is_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(drop_views=True, **shares)
    assert TrainConfig(drop_views=True, drop_auxiliary=0.333, drop_primary=0.3333333333).views == 3


def test_shares_are_read_from_words_and_name_a_file() -> None:
    assert parse_shares(["auxiliary"]) == Shares(auxiliary=1.0)
    assert parse_shares(["primary:0.3", "auxiliary:0.5"]) == Shares(auxiliary=0.5, primary=0.3)
    assert not parse_shares([])
    assert str(Shares(auxiliary=1.0)) == "auxiliary"
    assert str(Shares(auxiliary=0.5, primary=0.3)) == "auxiliary-0.5-primary-0.3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["s1"], "--drop s1: write auxiliary, primary, or one with a share"),
        (["primary:0"], "--drop primary:0: write"),
        (["primary:half"], "--drop primary:half: write"),
        (["primary:nan"], "--drop primary:nan: write"),
        (["auxiliary:1.5"], "--drop auxiliary:1.5: write"),
        (["primary:0.2", "primary"], "primary is given twice"),
        (["primary:0.7", "auxiliary:0.5"], "no pixel loses both, so the sum must be 1 at most"),
    ],
)
def test_words_that_are_no_shares_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_shares(words)


def test_settings_outside_their_domain_are_refused() -> None:
    with pytest.raises(UsageError, match=r"drop_primary is 1.5; it must be 0 or more, 1 at most"):
        TrainConfig(drop_primary=1.5)
    with pytest.raises(UsageError, match="the sum must be 1 at most"):
        TrainConfig(drop_auxiliary=0.6, drop_primary=0.6)


# --- what is read where there is no data ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["specsar-former-small", "cmx-small", "cmnext-small"])
def test_a_network_for_missing_inputs_has_the_weights_of_the_one_without_and_begins_as_it(model: str) -> None:
    torch.manual_seed(0)
    plain = build(model, 3, 2).eval()
    torch.manual_seed(0)
    made = for_missing_inputs(build(model, 3, 2), 3, 2).eval()
    inputs = torch.randn(1, 3, 32, 32), torch.randn(1, 2, 32, 32)
    inputs[0][:, :, :8], inputs[1][..., 16:] = 0, 0

    mine, theirs = plain.state_dict(), made.state_dict()

    added = {name: tuple(theirs.pop(name).shape) for name in (*TOKENS, *ESTIMATES)}
    assert added == {
        "token_auxiliary": (2,),
        "token_primary": (3,),
        "estimate_auxiliary": (2, 3),
        "estimate_primary": (3, 2),
    }
    of_states = [name for name in theirs if name.endswith(("_no_auxiliary", "_no_primary"))]
    assert [name for name in theirs if name not in of_states] == list(mine)
    assert len(of_states) == 2 * sum("running_" in name or "num_batches" in name for name in mine)
    assert all(torch.equal(theirs[name], mine[name]) for name in mine)
    with torch.no_grad():
        assert torch.equal(made(*inputs), plain(*inputs))


class Reads(torch.nn.Module):
    """Gives its inputs."""

    def forward(self, primary: torch.Tensor, auxiliary: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return primary, auxiliary


def test_a_learned_estimate_is_read_where_all_bands_of_an_input_have_no_data() -> None:
    network = for_missing_inputs(Reads(), 2, 1)
    with torch.no_grad():
        network.token_primary.copy_(torch.tensor([5.0, 6.0]))
        network.estimate_primary.copy_(torch.tensor([[10.0], [-1.0]]))
        network.token_auxiliary.fill_(7.0)
        network.estimate_auxiliary.copy_(torch.tensor([[1.0, 0.5]]))
    # Given a row of three pixels: complete, without its first band, without any.
    primary = torch.tensor([[[[1.0, 0.0, 0.0]], [[2.0, 3.0, 0.0]]]])
    auxiliary = torch.tensor([[[[0.0, 1.0, 2.0]]]])

    seen = network(primary, auxiliary)

    # 5 + 10 x 2 and 6 - 1 x 2; 7 + 1 x 1 + 0.5 x 2.
    assert seen[0].tolist() == [[[[1.0, 0.0, 25.0]], [[2.0, 3.0, 4.0]]]]
    assert seen[1].tolist() == [[[[9.0, 1.0, 2.0]]]]


def test_a_run_of_an_earlier_version_has_tokens_alone() -> None:
    network = for_missing_inputs(build("specsar-former-small", 3, 2), 3, 2, by_state=False)
    plain = build("specsar-former-small", 3, 2)

    assert {*network.state_dict()} == {*plain.state_dict(), *TOKENS}
    with torch.no_grad():
        network.token_primary.fill_(2.0)
    inputs = torch.zeros(1, 3, 32, 32), torch.randn(1, 2, 32, 32)
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if name not in TOKENS})
    with torch.no_grad():
        assert torch.equal(network.eval()(*inputs), plain.eval()(torch.full((1, 3, 32, 32), 2.0), inputs[1]))


def test_tokens_and_estimates_learn_where_their_input_is_absent() -> None:
    torch.manual_seed(0)
    network = for_missing_inputs(build("specsar-former-small", 2, 1, **TINY), 2, 1)

    network(torch.randn(1, 2, 32, 32), torch.zeros(1, 1, 32, 32)).square().sum().backward()

    assert float(network.token_auxiliary.grad.abs().min()) > 0
    assert float(network.estimate_auxiliary.grad.abs().min()) > 0
    assert network.token_primary.grad.tolist() == [0, 0]
    assert network.estimate_primary.grad.tolist() == [[0], [0]]


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_training_with_missing_inputs_moves_tokens_and_estimates(trained: Path) -> None:
    weights = RunFolder(trained).read_weights()

    assert all(float(weights[name].abs().min()) > 0 for name in (*TOKENS, *ESTIMATES))
    config = json.loads((trained / "config.json").read_text())
    assert config["tokens"] is True
    assert config["by_state"] is True


def test_without_the_options_a_run_is_what_it_was(usual: Path) -> None:
    config = RunFolder(usual).read_config()

    assert not {"tokens", "by_state"} & json.loads((usual / "config.json").read_text()).keys()
    assert set(RunFolder(usual).read_weights()) == set(config.network(where="").state_dict())
    assert not set(TOKENS) & set(RunFolder(usual).read_weights())


def test_a_training_that_was_stopped_ends_with_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path, on_step=stop_midway, checkpoint_minutes=0, **DROPS)
    train_here(tmp_path, **DROPS)

    assert result(tmp_path) == result(trained)


def test_a_training_with_views_that_was_stopped_ends_with_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_here(whole, **DROPS, drop_views=True)
    with pytest.raises(KeyboardInterrupt):
        train_here(stopped, on_step=stop_midway, checkpoint_minutes=0, **DROPS, drop_views=True)
    train_here(stopped, **DROPS, drop_views=True)

    assert result(stopped) == result(whole)
    assert result(whole) != result(trained)


def test_the_weights_move_after_each_view(tmp_path: Path) -> None:
    train_here(tmp_path, **DROPS, drop_views=True, epochs=1)

    checkpoint = RunFolder(tmp_path).read_checkpoint()
    assert checkpoint is not None
    # Three steps of ten tiles, in three views, of which each has moments of its own.
    states = [one["state"] for one in checkpoint["optimisers"]]
    assert [{int(one["step"]) for one in state.values()} for state in states] == [{3}] * 3
    complete, *others = (torch.cat([one["exp_avg"].flatten() for one in state.values()]) for state in states)
    assert not any(torch.equal(complete, other) for other in others)
    rate, *lower = (one["param_groups"][0]["lr"] for one in checkpoint["optimisers"])
    assert lower == pytest.approx([0.3 * rate] * 2)
    weights = RunFolder(tmp_path).read_weights()
    tracked = [int(value) for name, value in weights.items() if "num_batches_tracked" in name]
    assert len(tracked) == 3
    assert min(tracked) > 0


def test_each_step_ends_with_complete_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = []

    def noted(batch: Batch, shares: Shares, *, view: int | None, **place: Any) -> Batch:
        views.append(view)
        return version_in_training(batch, shares, view=view, **place)

    monkeypatch.setattr(trainer, "version_in_training", noted)
    train_here(tmp_path, **DROPS, drop_views=True, epochs=1)

    # Steps of two, two and one micro-batch; what came before is of the time that the training is told to take.
    assert views[3:] == [1, 1, 2, 2, 0, 0] * 2 + [1, 2, 0]


def test_a_checkpoint_of_an_earlier_version_has_one_optimiser_for_all_views(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path, on_step=stop_midway, checkpoint_minutes=0, **DROPS)
    folder = RunFolder(tmp_path)
    state = folder.read_checkpoint()
    assert state is not None
    (state["optimiser"],) = state.pop("optimisers")
    folder.write_checkpoint(1, state, steps=2)

    train_here(tmp_path, **DROPS)

    assert result(tmp_path) == result(trained)


def _train_views(rank: int, run_dir: Path) -> None:
    train_here(run_dir, **DROPS, drop_views=True, epochs=1)


@pytest.mark.slow  # other trainings of two processes are in test_train
def test_two_processes_train_views_as_one(tmp_path: Path) -> None:
    in_two_processes(_train_views, tmp_path / "two")
    _train_views(0, tmp_path / "one")

    two, one = (RunFolder(tmp_path / name).read_rows()[0]["loss"] for name in ("two", "one"))
    assert two == pytest.approx(one, rel=1e-4)


def test_unfinished_views_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    def stop(now: Position) -> None:
        raise KeyboardInterrupt

    settings = DROPS | {"drop_views": True, "checkpoint_minutes": 0}
    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path, **settings, on_step=stop)
    folder = RunFolder(tmp_path)
    folder.write_config(replace(folder.read_config(), by_state=False))

    with pytest.raises(UsageError, match="holds a run with another by_state"):
        train_here(tmp_path, **settings)


def test_a_run_does_not_go_on_with_other_shares(trained: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a run with another train\.drop_primary"):
        train_here(trained, **DROPS | {"drop_primary": 0.1})


def test_a_network_with_one_input_refuses(tmp_path: Path) -> None:
    config = replace(CONFIG, model="segformer-small", model_options={}, drop_auxiliary=0.5)

    with pytest.raises(UsageError, match="drop_auxiliary and drop_primary: the network has one input"):
        train(config, dataset_train=MemoryTiles(TWO, auxiliary=()), run_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_training_counts_pixels_with_either_input(tmp_path: Path) -> None:
    # Given a set of tiles that can say so, and one that cannot.
    asked: list[int] = []

    @dataclass
    class Asked(MemoryTiles):
        def counting_either(self) -> MemoryTiles:
            asked.append(1)
            return self

    train(replace(CONFIG, epochs=1), dataset_train=Asked(TWO), run_dir=tmp_path / "usual")
    assert not asked
    train(replace(CONFIG, epochs=1, drop_primary=0.2), dataset_train=Asked(TWO), run_dir=tmp_path / "gaps")

    assert asked
    assert counting_either(TEST) is TEST


def test_tokens_of_a_run_to_begin_with_are_taken_by_band(trained: Path) -> None:
    before, run = read_pretrained(str(trained)), RunFolder(trained).read_config()
    settings = configure("specsar-former-small", 2, 2, **TINY, labels=2)
    data = replace(run.data, auxiliary=("VH", "VV"), statistics=run.data.statistics | {"VH": run.data.statistics["VV"]})

    made = plan(run.model, settings, data, before, tokens=True)

    assert counted_axes(run.model, settings, tokens=True)[1]["token_auxiliary"] == {0: ("auxiliary_bands",)}
    assert "token_primary" in made.whole
    assert made.parts["token_auxiliary"] == (0, ((1, 0),))
    assert "token_primary" not in plan(run.model, settings, data, before).whole


# --- scoring ----------------------------------------------------------------------------------------------------------


@dataclass
class Without(MemoryTiles):
    """Tiles on whose disk an input has no data; the labels are those of the complete tiles."""

    lost: str = ""

    def __getitem__(self, index: int, /) -> Sample:
        sample = super().__getitem__(index)
        return sample._replace(**{self.lost: np.zeros_like(getattr(sample, self.lost))})


@pytest.mark.parametrize("lost", INPUTS)
def test_scores_without_an_input_are_those_of_a_data_set_that_has_none(trained: Path, lost: str) -> None:
    stored = score(trained, Without(TWO, split="test", count=4, first=80, lost=lost), workers=0, device="cpu")
    plain = score(trained, TEST, workers=0, device="cpu")

    dropped = score(trained, TEST, workers=0, device="cpu", drop=parse_shares([lost]))

    assert dropped.matrix == stored.matrix
    assert dropped.matrix != plain.matrix
    assert dropped.matrix.pixels == plain.matrix.pixels
    kept = json.loads((trained / f"scores-drop-{lost}.json").read_text())
    assert kept["dropped"] == {lost: 1.0, "seed": 0}
    assert "dropped" not in json.loads((trained / "scores.json").read_text())


def test_a_share_of_an_input_is_lost_in_the_same_pixels_each_time(usual: Path) -> None:
    drop = parse_shares(["auxiliary:0.5", "primary:0.3"])
    tiles = TilesWithout(TEST, drop)

    first, second = (score(usual, TEST, workers=0, batch=n, device="cpu", drop=drop).matrix for n in (1, 4))

    assert first == second
    assert any((sample.primary == 0).any() or (sample.auxiliary == 0).any() for sample in tiles)
    assert (usual / "scores-drop-auxiliary-0.5-primary-0.3.json").is_file()
    np.testing.assert_array_equal(tiles[1].label, TEST[1].label)


def test_predictions_read_what_stands_for_an_absent_input(trained: Path) -> None:
    loaded = load(trained, device="cpu")
    assert set(TOKENS) <= set(loaded.network.state_dict())
    sample = Without(TWO, split="test", count=4, first=80, lost="primary")[0]

    batch = to_batch(sample)

    with torch.no_grad():
        inputs = loaded.normaliser(batch.primary, batch.auxiliary)
        before = loaded.network(*inputs)
        assert torch.equal(before.argmax(1)[0].to(torch.uint8), torch.from_numpy(predict(loaded, sample)))
        loaded.network.token_primary.fill_(50.0)

        assert (loaded.network(*inputs) != before).any()
    np.testing.assert_array_equal(predict(loaded, TEST[0]), predict(trained, TEST[0]))


def test_a_run_with_one_input_cannot_be_scored_without_it(tmp_path: Path) -> None:
    tiles = MemoryTiles(TWO, split="test", auxiliary=())
    settings = configure("segformer-small", 2, 0, labels=2)
    run = RunConfig("0", "segformer-small", to_mapping(settings), {}, DataCard.of(tiles))
    folder = RunFolder(tmp_path)
    folder.write_config(run)
    folder.write_weights("model.safetensors", run.network(where="").state_dict())

    with pytest.raises(UsageError, match="--drop auxiliary: the network has one input, which cannot be left out"):
        score(tmp_path, tiles, workers=0, device="cpu", drop=parse_shares(["auxiliary"]))
