"""Statistics of BatchNorm for each state of the inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dwplus.model.input_states import STATES, reset_statistics, states_of, with_norms_by_state
from dwplus.model.registry import build
from torch import Tensor, nn


class Normed(nn.Module):
    """The sum of both inputs after a norm: (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        found: Tensor = self.norm(primary + auxiliary)
        return found


def unfilled(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return inputs


def normed(**options: Any) -> Any:
    return with_norms_by_state(Normed(), unfilled, **options)


def mixed() -> tuple[Tensor, Tensor]:
    """Five samples: without primary, complete, complete, without auxiliary, without primary."""
    torch.manual_seed(0)
    primary, auxiliary = 5 + torch.rand(5, 1, 4, 4), 1 + torch.rand(5, 1, 4, 4)
    primary[[0, 4]], auxiliary[3] = 0, 0
    return primary, auxiliary


def test_the_state_of_a_sample_is_the_one_of_most_of_its_pixels() -> None:
    # Given four pixels a sample: complete; three without auxiliary; half without primary, half without anything.
    primary = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]).view(3, 1, 2, 2)
    auxiliary = torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 1], [2, 2, 0, 0]]).view(3, 1, 2, 2)

    assert [STATES[place] for place in states_of(primary, auxiliary)] == ["complete", "no_auxiliary", "no_primary"]


def test_each_sample_is_normalised_with_those_of_its_state() -> None:
    primary, auxiliary = mixed()
    network, total = normed(), (primary + auxiliary).double()

    found = network(primary, auxiliary)

    # By hand: each state by its own mean and deviation.
    for places in ([1, 2], [3], [0, 4]):
        own = total[places]
        expected = (own - own.mean()) / (own.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(found[places].double(), expected, atol=1e-4, rtol=0)
    kept = network.state_dict()
    for name, places in (("", [1, 2]), ("_no_auxiliary", [3]), ("_no_primary", [0, 4])):
        assert float(kept[f"norm.running_mean{name}"]) == pytest.approx(0.1 * float(total[places].mean()), rel=1e-5)
        assert int(kept[f"norm.num_batches_tracked{name}"]) == 1


def test_scores_read_what_training_counted_of_each_state() -> None:
    primary, auxiliary = mixed()
    network = normed()
    network.norm.momentum = 1.0  # what was counted last
    network(primary, auxiliary)
    trained = {name: value.clone() for name, value in network.state_dict().items()}

    found = network.eval()(primary, auxiliary)

    one_by_one = [network(primary[i : i + 1], auxiliary[i : i + 1]) for i in range(5)]
    assert torch.equal(found, torch.cat(one_by_one))
    for places in ([1, 2], [3], [0, 4]):
        assert float(found[places].detach().mean()) == pytest.approx(0, abs=1e-3)
    assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())


def test_a_state_that_no_training_saw_is_read_as_complete() -> None:
    primary, auxiliary = mixed()
    network = normed()
    network(primary[1:3], auxiliary[1:3])
    plain = Normed().eval()
    plain.norm.load_state_dict({name: network.norm.state_dict()[name] for name in plain.norm.state_dict()})

    assert torch.equal(network.eval()(primary, auxiliary), plain(primary, auxiliary))


def test_complete_samples_train_a_network_as_without_states() -> None:
    torch.manual_seed(0)
    plain = build("cmx-small", 3, 2)
    states = with_norms_by_state(build("cmx-small", 3, 2), unfilled)
    states.load_state_dict(plain.state_dict(), strict=False)
    inputs = torch.randn(2, 3, 64, 64), torch.randn(2, 2, 64, 64)

    for network in (plain, states):
        torch.manual_seed(1)
        network(*inputs).square().mean().backward()

    ours = dict(states.named_parameters())
    assert all(torch.equal(one.grad, ours[name].grad) for name, one in plain.named_parameters() if one.grad is not None)
    kept = states.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in plain.state_dict().items())


def test_a_state_of_too_few_samples_is_trained_with_the_state_of_most() -> None:
    primary, auxiliary = mixed()
    network = normed(fewest=2)

    network(primary, auxiliary)

    # The one sample without auxiliary goes to the first of the two states that have two samples.
    tracked = {state: int(network.state_dict()[f"norm.num_batches_tracked_{state}"]) for state in STATES[1:]}
    assert tracked == {"no_auxiliary": 0, "no_primary": 1}


def test_statistics_of_all_states_begin_anew() -> None:
    network = normed()
    network(*mixed())

    reset_statistics(network.norm)

    kept = network.state_dict()
    assert {float(value) for name, value in kept.items() if "running_mean" in name or "tracked" in name} == {0.0}
    assert {float(value) for name, value in kept.items() if "running_var" in name} == {1.0}


def test_further_results_and_options_of_a_network_are_passed_on() -> None:
    class WithAux(Normed):
        def forward(self, primary: Tensor, auxiliary: Tensor, *, aux: bool = False) -> Any:
            found = super().forward(primary, auxiliary)
            return (found, 2 * found) if aux else found

    network: Any = with_norms_by_state(WithAux(), unfilled)

    found, twice = network(*mixed(), aux=True)

    assert torch.equal(twice, 2 * found)
    assert len(found) == 5
