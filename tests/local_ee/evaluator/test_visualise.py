"""``Image.visualize``: values of a band become greys and colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dwplus.local_ee.evaluator.visualise import colours_of
from dwplus.local_ee.refusal import Refusal
from support.conformity_scenes import ROW, X, Y, world
from support.local_ee_scenes import S2, call, pixels, value

WORLD = world()
HOME = (10.0, 0.0, X, 0.0, -10.0, Y)
ROW_IMAGE = call("Image.load", id=f"{S2}/row")
LAND = call("Image.load", id=f"{S2}/land")


def shown(image: dict[str, Any] = ROW_IMAGE, **parameters: Any) -> Any:
    """The first row of four pixels of the picture, by band."""
    found = pixels(WORLD, call("Image.visualize", image=image, **parameters), HOME, size=4)
    return {name: found[name][0].tolist() for name in found.dtype.names}


def test_min_and_max_become_0_and_255_and_what_lies_beyond_is_cut_off() -> None:
    assert ROW[0].tolist() == [0, 10, 30, 70]

    # (10 - 5) / 50 * 255 = 25.5, a half goes up; (30 - 5) / 50 * 255 = 127.5
    assert shown(min=5, max=55) == {"vis-gray": [0, 26, 128, 255]}


def test_gamma_above_one_makes_the_middle_brighter() -> None:
    expected = np.round(255 * (np.array([0, 10, 30, 70]) / 70) ** (1 / 2)).tolist()

    assert shown(min=0, max=70, gamma=2) == {"vis-gray": expected}


def test_gain_and_bias_are_min_and_max_in_other_words() -> None:
    assert shown(gain=2, bias=10) == {"vis-gray": [10, 30, 70, 150]}


def test_a_palette_is_interpolated_between_neighbours() -> None:
    # 0, 10, 30 and 70 of 0..60 between black, red and white: 10 is a third of the way to red, 30 is red itself
    found = shown(min=0, max=60, palette=["black", "f00", "#ffffff"])

    assert found == {"vis-red": [0, 85, 255, 255], "vis-green": [0, 0, 0, 255], "vis-blue": [0, 0, 0, 255]}


def test_classes_have_exactly_their_colours() -> None:
    classes = call("Image.select", input=LAND, bandSelectors=["SCL"])  # 4, 9, 3, 5

    found = shown(classes, min=3, max=9, palette="010203,040506,070809,0a0b0c,0d0e0f,101112,131415")

    assert found["vis-red"] == [0x04, 0x13, 0x01, 0x07]
    assert found["vis-blue"] == [0x06, 0x15, 0x03, 0x09]


def test_three_bands_are_red_green_and_blue_each_with_its_own_range() -> None:
    found = shown(LAND, bands=["red", "nir", "red"], min=[0, -50, 0], max=[300, 300, 100])

    # red is 100, 300, 0, 50 and nir 300, 100, 0, -50
    assert found["vis-red"] == [85, 255, 0, 43]
    assert found["vis-green"] == [255, 109, 36, 0]
    assert found["vis-blue"] == [255, 255, 0, 128]


def test_without_a_range_integers_are_shown_over_their_type_and_floats_from_0_to_1() -> None:
    wide = call("Image.toUint8", value=ROW_IMAGE)
    small = call("Image.divide", image1=ROW_IMAGE, image2=100.0)

    assert shown(wide) == {"vis-gray": [0, 10, 30, 70]}
    assert shown(small) == {"vis-gray": [0, 26, 77, 179]}


def test_one_band_as_rgb_where_that_is_wanted() -> None:
    values = [0, 10, 30, 70]

    found = shown(min=0, max=255, forceRgbOutput=True)

    assert found == {"vis-red": values, "vis-green": values, "vis-blue": values}


def test_a_pixel_is_masked_where_one_of_its_bands_is() -> None:
    gap = call("Image.load", id=f"{S2}/gap")  # its second pixel is masked
    three = call("Image.cat", images=[ROW_IMAGE, gap, ROW_IMAGE])
    mask = call("Image.mask", image=call("Image.visualize", image=three, min=0, max=70))

    found = pixels(WORLD, mask, HOME, size=4)

    assert all(found[name][0].tolist() == [1, 0, 1, 1] for name in found.dtype.names)


def test_the_picture_has_bytes_and_names_of_its_own() -> None:
    made = value(WORLD, call("Image.visualize", image=ROW_IMAGE, palette=["red", "blue"], opacity=0.5))

    assert [band["id"] for band in made["bands"]] == ["vis-red", "vis-green", "vis-blue"]
    assert all(band["data_type"]["max"] == 255 for band in made["bands"])
    assert made["bands"][0]["crs"] == "EPSG:32633"


@pytest.mark.parametrize(
    ("parameters", "code", "words"),
    [
        ({"palette": ["no such colour"]}, 400, "Invalid color 'no such colour'"),
        ({"palette": ["red"], "bands": ["red", "nir", "SCL"]}, 400, "Cannot provide a palette"),
        ({"bands": ["red", "nir", "SCL", "red"]}, 400, "At most 3 bands"),
        ({"bands": ["red", "nir"]}, 501, "of two bands"),
        ({"min": 0, "gain": 1}, 400, "cannot be specified together"),
        ({"min": [0, 1]}, 400, "'min' holds 2 values for 3 bands"),
        ({"gamma": 0}, 400, "'gamma' must be above zero"),
        ({"gain": 0}, 400, "'gain' must not be zero"),
        ({"max": "much"}, 400, "'max' must hold finite numbers"),
    ],
)
def test_what_contradicts_itself_is_refused(parameters: dict[str, Any], code: int, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        shown(LAND, **parameters)

    assert caught.value.code == code


def test_half_opacity_is_for_maps_alone_since_masks_have_no_levels_here() -> None:
    with pytest.raises(Refusal, match="opacity below 1, other than as a layer") as caught:
        shown(min=0, max=70, opacity=0.5)

    assert caught.value.code == 501


def test_colours_are_read_as_in_css() -> None:
    assert colours_of(["rebeccapurple", "#0F8", "419bdf"]) == [(102, 51, 153), (0, 255, 136), (0x41, 0x9B, 0xDF)]
    assert colours_of("white, 000") == [(255, 255, 255), (0, 0, 0)]
