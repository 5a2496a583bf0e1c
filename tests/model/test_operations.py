"""Operations counted once for each shape, compared with torch's own counter, which counts every one."""

from __future__ import annotations

import torch
from dwplus.model.operations import CountedOperations
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def by_torch(network: nn.Module, image: Tensor) -> tuple[int, Tensor]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = network(image)
    return int(counter.get_total_flops()), result


def by_us(network: nn.Module, image: Tensor) -> tuple[int, Tensor]:
    with torch.no_grad(), CountedOperations() as counter:
        result = network(image)
    return counter.flops, result


class Layers(nn.Module):
    """Equal layers, layers that differ in one number alone, views, and work that is done in place."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(4)) for _ in range(3)),
            nn.Conv2d(4, 4, 3, padding=1, stride=2),
            nn.Conv2d(4, 4, 3, padding=1, stride=2, groups=2),
            nn.Upsample(scale_factor=2, mode="bilinear"),
        )
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, image: Tensor) -> Tensor:
        x = self.chain(image)
        tokens = x.flatten(2).transpose(1, 2)
        for _ in range(2):
            tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        product = torch.empty(tokens.shape[1], tokens.shape[1], device=image.device)
        product.addmm_(tokens[0], tokens[0].T)
        return torch.cat([tokens.transpose(1, 2).unflatten(2, x.shape[2:]), x], dim=1)


def test_equal_operations_are_counted_each_time_and_shapes_are_kept() -> None:
    network = Layers().eval().to("meta")

    for size in (16, 24, 16):
        image = torch.empty(1, 4, size, size, device="meta")
        (torchs, expected), (ours, found) = by_torch(network, image), by_us(network, image)

        assert ours == torchs > 0
        assert (found.shape, found.stride(), found.dtype) == (expected.shape, expected.stride(), expected.dtype)


def test_a_convolution_counts_by_hand() -> None:
    two = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 1), nn.Conv2d(5, 5, 1)).to("meta")

    flops, _ = by_us(two, torch.empty(1, 3, 4, 4, device="meta"))

    assert flops == 2 * 16 * (3 * 5 * 9 + 5 * 5 + 5 * 5)


def test_tensors_with_values_are_never_taken_for_others_of_their_shape() -> None:
    class ByValue(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image * 2 @ image if image.sum() > 0 else image - 1

    one, other = torch.ones(2, 2), -torch.ones(2, 2)

    assert [by_us(ByValue(), image)[0] for image in (one, other, one)] == [2 * 8, 0, 2 * 8]
    assert by_us(ByValue(), other)[1].tolist() == [[-2, -2], [-2, -2]]
    assert by_us(ByValue(), one)[1].tolist() == [[4, 4], [4, 4]]
