"""The gradient of a step against one plain large batch: equal however the step is cut, in double precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from dwplus.model.loader import Batch
from dwplus.model.losses import build_loss
from dwplus.model.registry import build
from dwplus.model.training.objective import Objective
from dwplus.model.training.order import Cut
from dwplus.model.training.step import StepGradient
from support.two_processes import in_two_processes
from torch import Tensor, nn

MARKED = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Shares of marked pixels of the eight tiles of a step."""

COUNTS = [500, 3000, 100, 100, 700, 30, 4000, 10, 60]


SMALL = {"widths": [16, 32], "depths": [1, 1], "heads": [1, 2], "reductions": [4, 2], "decoder_width": 16}


class Doubled(nn.Module):
    """Inputs in double precision."""

    def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        return primary.double() / 1e4, auxiliary.double() / 1e4


def tiles() -> Batch:
    """Eight tiles of 32 px."""
    draw = torch.Generator().manual_seed(5)
    primary, auxiliary = (torch.randint(1, 10_000, (8, bands, 32, 32), generator=draw) for bands in (2, 1))
    label = torch.randint(0, 9, (8, 32, 32), generator=draw).to(torch.uint8)
    for one, share in zip(label, MARKED, strict=True):
        one[torch.rand(32, 32, generator=draw) >= share] = 255
    size = torch.tensor([[32, 32]]).expand(8, 2)
    return Batch(primary.to(torch.uint16), auxiliary.to(torch.uint16), label, torch.arange(8), size)


def some(batch: Batch, numbers: tuple[int, ...]) -> Batch:
    return Batch(*(torch.stack([part[number] for number in numbers]) for part in batch))


def network() -> nn.Module:
    """In evaluation mode: the statistics of BatchNorm would be of each micro-batch, and dropout is of none."""
    torch.manual_seed(1)
    return build("specsar-former-small", 2, 1, **SMALL, dropout=0.0, drop_path=0.0).double().eval()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def by_one_large_batch() -> tuple[float, dict[str, Tensor]]:
    """The oracle: the mean over all marked pixels of all eight tiles, by autograd alone."""
    model, batch = network(), tiles()
    alpha = build_loss("focal", counts=COUNTS).alpha.double()
    logits = model(*Doubled()(batch.primary, batch.auxiliary)).permute(0, 2, 3, 1)
    marked = batch.label != 255
    truth = batch.label[marked].long()
    log_p = logits[marked].log_softmax(-1).gather(1, truth[:, None])[:, 0]
    loss = (-alpha[truth] * (1 - log_p.exp()) ** 2 * log_p).mean()
    loss.backward()
    return loss.item(), gradients(model)


def by_steps(at_once: int, processes: int = 1, rank: int = 0) -> tuple[float, float, dict[str, Tensor]]:
    """Mean loss, pixels and gradients of a step cut as in training."""
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(network())
    objective = Objective(model, Doubled(), build_loss("focal", counts=COUNTS), classes=9)
    gradient, batch = StepGradient(accelerator, model, objective), tiles()
    parts = Cut(8, at_once, processes, rank).step(range(8), 0)
    for part in parts:
        gradient.add(some(batch, part.numbers), last=part is parts[-1])
    loss, pixels = gradient.finish().tolist()
    return loss / pixels, pixels, gradients(model)


def largest_difference(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Relative to the largest gradient of each weight."""
    assert found.keys() == wanted.keys()
    return max(float((found[n] - wanted[n]).abs().max() / wanted[n].abs().max().clamp(min=1e-12)) for n in wanted)


@pytest.mark.parametrize("micro_batches", [1, 2, 4, 8])
def test_a_step_in_parts_has_the_gradient_of_one_large_batch(micro_batches: int) -> None:
    wanted_loss, wanted = by_one_large_batch()

    loss, pixels, found = by_steps(8 // micro_batches)

    assert pixels == int((tiles().label != 255).sum())
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    assert largest_difference(found, wanted) < 1e-6


def test_the_mean_of_the_means_of_parts_is_another_gradient() -> None:
    # The check above must be able to fail: this is what a mean over each tile's own pixels gives.
    _, wanted = by_one_large_batch()
    model, batch = network(), tiles()
    objective = Objective(model, Doubled(), build_loss("focal", counts=COUNTS), classes=9)
    for number in range(8):
        total = objective(some(batch, (number,)))
        (total.loss / total.pixels / 8).backward()

    assert largest_difference(gradients(model), wanted) > 0.1


def test_a_step_without_a_marked_pixel_has_a_gradient_of_zero() -> None:
    model, batch = network(), tiles()
    objective = Objective(model, Doubled(), build_loss("focal", counts=COUNTS), classes=9)
    gradient = StepGradient(Accelerator(cpu=True), model, objective)

    gradient.add(batch._replace(label=torch.full_like(batch.label, 255)), last=True)

    assert gradient.finish().tolist() == [0, 0]
    assert all(not one.any() for one in gradients(model).values())


def _in_process(rank: int, folder: Path) -> None:
    # Three tiles at a time: the first process has two micro-batches, the second one.
    torch.save(by_steps(3, processes=2, rank=rank), folder / f"{rank}.pt")
    torch.save(running_means(3, processes=2, rank=rank), folder / f"means-{rank}.pt")
    Accelerator().end_training()


class Normed(nn.Module):
    """A network that is BatchNorm and little else."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(2), nn.Conv2d(2, 9, 1)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(primary.float()))
        return logits


def running_means(at_once: int, processes: int, rank: int) -> Tensor:
    """Of BatchNorm, where the weights of a training are taken from, after a step."""
    torch.manual_seed(2)
    accelerator = Accelerator(cpu=True)
    model, batch = accelerator.prepare(Normed()).train(), tiles()
    gradient = StepGradient(
        accelerator, model, Objective(model, Doubled(), build_loss("focal", counts=COUNTS), classes=9)
    )
    parts = Cut(8, at_once, processes, rank).step(range(8), 0)
    for part in parts:
        gradient.add(some(batch, part.numbers), last=part is parts[-1])
    gradient.finish()
    return accelerator.unwrap_model(model).norm.running_mean


def test_a_step_of_two_processes_has_the_gradient_of_one_large_batch(tmp_path: Path) -> None:
    wanted_loss, wanted = by_one_large_batch()

    in_two_processes(_in_process, tmp_path)

    for rank in (0, 1):
        loss, pixels, found = torch.load(tmp_path / f"{rank}.pt")
        assert pixels == int((tiles().label != 255).sum())
        assert loss == pytest.approx(wanted_loss, rel=1e-6)
        assert largest_difference(found, wanted) < 1e-6
    # The running statistics that are kept saw the two micro-batches of the first process: tiles 0-2 and 6-7, not 3-5.
    kept = torch.zeros(2)
    for seen in (slice(0, 3), slice(6, 8)):
        kept = 0.9 * kept + 0.1 * (tiles().primary[seen].double() / 1e4).mean(dim=(0, 2, 3))
    assert torch.allclose(torch.load(tmp_path / "means-0.pt").double(), kept, rtol=1e-5)
