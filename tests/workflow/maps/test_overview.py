"""Small pictures of maps and images: means and sizes worked out by hand, pictures read back."""

import numpy as np
import rasterio
from dwplus.workflow.maps.overview import (
    confidence_colours,
    jpeg_of,
    looks_of,
    outside_colours,
    png_of,
    size_of,
    unique_colours,
)
from numpy.typing import NDArray
from rasterio.io import MemoryFile


class Held:
    """An image in memory, the same values in every band."""

    def __init__(self, values: NDArray[np.uint16]) -> None:
        self.values, self.shape = values, values.shape

    def read(self, bands: tuple[str, ...], start: int, stop: int) -> NDArray[np.uint16]:
        return np.stack([self.values[start:stop] + number for number in range(len(bands))])


def test_the_longer_side_has_2000_pixels_at_most() -> None:
    assert size_of((1000, 8000)) == (250, 2000)
    assert size_of((2001, 10)) == (1001, 5)
    assert size_of((3, 7)) == (3, 7)


def test_a_pixel_of_an_overview_is_the_mean_of_those_with_data() -> None:
    image = Held(np.array([[2, 4, 9], [6, 0, 0], [8, 8, 0]], dtype=np.uint16))

    looks = looks_of(image, ("VV",), most=2)

    assert looks.colour is None
    assert looks.vv is not None
    assert looks.vv.tolist() == [[4, 9], [8, 0]]


def test_layers_are_those_of_bands_that_the_network_reads() -> None:
    image = Held(np.full((3, 3), 5, dtype=np.uint16))

    assert looks_of(image, ("B2", "B3")).vv is None
    colour = looks_of(image, ("B2", "B3", "B4")).colour
    assert colour is not None
    assert colour[:, 0, 0].tolist() == [5, 6, 7]  # B4, B3, B2


def test_values_can_be_read_back_from_the_colours_of_a_picture() -> None:
    colours = unique_colours({1: (10, 20, 30), 2: (10, 20, 30), 3: (255, 0, 255)})
    values = np.array([[1, 2], [3, 0]], dtype=np.uint8)

    with MemoryFile(png_of(values, colours)) as memory, memory.open() as file:
        codes, palette = file.read(1), file.colormap(1)

    assert colours == {1: (10, 20, 30), 2: (10, 20, 31), 3: (255, 0, 255)}
    assert [palette[code][:3] for code in codes.ravel()[:3]] == list(colours.values())
    assert palette[0][3] == 0
    assert len(set(confidence_colours().values())) == 101


def test_a_photograph_keeps_its_brightness() -> None:
    with MemoryFile(jpeg_of(np.full((16, 16, 3), 0.5, dtype=np.float32))) as memory, memory.open() as file:
        assert isinstance(file, rasterio.DatasetReader)
        assert (file.count, abs(int(file.read().mean()) - 128) <= 1) == (3, True)


def test_more_bands_outside_the_training_range_are_darker_and_none_are_transparent() -> None:
    colours = outside_colours(12)

    assert list(colours) == list(range(1, 13))
    light = [sum(rgb) for rgb in colours.values()]
    assert light == sorted(light, reverse=True)
    assert 1 in outside_colours(1)
