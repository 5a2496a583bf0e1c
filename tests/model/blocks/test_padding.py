"""Padding to a multiple and back: dwplus.model.blocks.padding."""

from __future__ import annotations

import pytest
import torch
from dwplus.model.blocks.padding import padding_of, run_padded
from dwplus.pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("size", "multiple", "around"),
    [
        ((510, 510), 32, (1, 1, 1, 1)),
        ((512, 512), 32, (0, 0, 0, 0)),
        ((511, 33), 32, (15, 16, 0, 1)),  # an odd pixel goes right and below
    ],
)
def test_padding_is_as_even_as_it_can_be(size, multiple, around):
    assert padding_of(*size, multiple) == around


def test_a_network_sees_a_multiple_and_its_logits_fit_the_image():
    seen = []

    def network(primary, auxiliary):
        seen.append((primary.shape, auxiliary.shape))
        return primary[:, :1] * 10

    primary, auxiliary = torch.randn(2, 3, 30, 29), torch.randn(2, 0, 30, 29)

    logits = run_padded(network, primary, auxiliary, multiple=8)

    assert seen == [((2, 3, 32, 32), (2, 0, 32, 32))]
    assert torch.equal(logits, primary[:, :1] * 10)


def test_the_border_is_a_reflection():
    image = torch.arange(6.0).reshape(1, 1, 1, 6).expand(1, 1, 6, 6)

    columns = []
    run_padded(lambda p, a: columns.append(p[0, 0, 0].tolist()) or p, image, image, multiple=8)

    assert columns == [[1, 0, 1, 2, 3, 4, 5, 4]]


def test_logits_of_an_auxiliary_head_are_cut_too():
    image = torch.randn(1, 1, 6, 6)

    one, other = run_padded(lambda p, a: (p, a), image, 2 * image, multiple=8)

    assert torch.equal(one, image)
    assert torch.equal(other, 2 * image)


def test_an_image_smaller_than_its_border_is_refused():
    with pytest.raises(UsageError, match=r"5 x 40 px is too small .* more than 16 px a side"):
        run_padded(lambda p, a: p, torch.zeros(1, 1, 5, 40), torch.zeros(1, 1, 5, 40), multiple=32)
