"""Pixels: sampling, masks, types, composites. Every expected value follows from the planes of ``local_ee_scenes``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dwplus.local_ee.evaluator.arithmetic import cast_values
from dwplus.local_ee.evaluator.grid import Projection, RequestGrid
from dwplus.local_ee.evaluator.warp import Alignment, Raster, sample
from dwplus.local_ee.refusal import Refusal
from dwplus.local_ee.scene import Scene, SceneBand
from pyproj import Transformer
from support.local_ee_scenes import (
    NORTH,
    S1,
    S2,
    ArrayCatalogue,
    call,
    centres,
    collection,
    image,
    pixels,
    value,
    world,
)

UNIT = (10.0, 0.0, 0.0, 0.0, -10.0, 0.0)
"""10 m pixels whose upper left corner is (0, 0)."""


def one_band(array: Any, mask: Any = None, *, index: str = "x", name: str = "b", affine: Any = UNIT) -> ArrayCatalogue:
    """A catalogue with one scene of one band, in UTM zone 33."""
    catalogue = ArrayCatalogue()
    add(catalogue, np.asarray(array), mask, index=index, name=name, affine=affine)
    return catalogue


def add(catalogue: ArrayCatalogue, array: Any, mask: Any, *, index: str, name: str = "b", affine: Any = UNIT) -> None:
    band = SceneBand(name, array.dtype.name, "EPSG:32633", affine, array.shape)
    x, y = affine[2] + affine[0] * array.shape[1], affine[5] + affine[4] * array.shape[0]
    change = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    corners = [(affine[2], y), (x, y), (x, affine[5]), (affine[2], affine[5])]
    outline = tuple(change.transform(*corner) for corner in corners)
    scene = Scene(S2, index, (band,), {"system:index": index, "system:time_start": len(catalogue.scenes)}, outline)
    catalogue.add(scene, {name: array}, None if mask is None else {name: np.asarray(mask)})


def moved(cols: float, rows: float = 0.0) -> tuple[float, ...]:
    """``UNIT`` by so many pixels to the right and down."""
    return (10.0, 0.0, 10.0 * cols, 0.0, -10.0, -10.0 * rows)


BILINEAR = call("Image.resample", image=image("x"), mode="bilinear")
ROW = np.array([[0, 10, 30, 70]], dtype=np.uint16)


def test_nearest_neighbour_is_the_default() -> None:
    assert pixels(one_band(ROW), image("x"), moved(0.4), size=1)["b"].item() == 0
    assert pixels(one_band(ROW), image("x"), moved(0.6), size=1)["b"].item() == 10


def test_bilinear_weighs_by_distance_between_pixel_centres() -> None:
    found = pixels(one_band(np.vstack([ROW, ROW + 100])), BILINEAR, moved(0.25, 0.5), size=1)["b"]

    assert found.item() == pytest.approx(0.75 * 0 + 0.25 * 10 + 50)


def test_a_twenty_metre_band_on_ten_metre_pixels() -> None:
    coarse = one_band(np.array([[100, 200]], dtype=np.uint16), affine=(20.0, 0.0, 0.0, 0.0, -20.0, 0.0))
    grid = (10.0, 0.0, 0.0, 0.0, -10.0, 0.0)

    # centres of the fine pixels lie at 0.25, 0.75, 1.25, 1.75 coarse pixels, those of the coarse ones at 0.5 and 1.5
    assert pixels(coarse, image("x"), grid, size=4)["b"][0].tolist() == [100, 100, 200, 200]
    assert pixels(coarse, BILINEAR, grid, size=4)["b"][0].tolist() == [100, 125, 175, 200]


def test_masked_taps_do_not_count_and_pixels_without_any_take_the_fill_value() -> None:
    mask = [[True, False, True, True]]

    found = pixels(one_band(ROW, mask), BILINEAR, moved(0.25), size=4)["b"]
    assert found[0].tolist() == [0, 30, 40, 70]  # 0 alone; 30 alone; both; the last one beyond the edge alone
    beyond = pixels(one_band(ROW + 5), BILINEAR, moved(4.6), size=1)
    assert beyond["b"].item() == 0
    inside = call("Image.mask", image=BILINEAR)
    assert pixels(one_band(ROW), inside, moved(-1.1), size=1)["b"].item() == 0
    assert pixels(one_band(ROW), inside, moved(-0.9), size=1)["b"].item() == 1


def test_a_grid_far_from_the_scene_reads_nothing() -> None:
    catalogue = one_band(ROW)

    assert pixels(catalogue, image("x"), moved(1000), size=2)["b"].tolist() == [[0, 0], [0, 0]]
    assert catalogue.reads == []


def test_only_the_window_is_read_and_mean_and_count_share_it() -> None:
    catalogue = world()
    chosen = call("Filter.inList", leftField="system:index", rightValue=["N_first", "N_zone"])
    function = {"functionDefinitionValue": {"argumentNames": ["i"], "body": "body"}}
    both = call("Collection.map", collection=collection(S1, chosen), baseAlgorithm=function)
    body = call(
        "Image.resample", image=call("Image.select", input={"argumentReference": "i"}, bandSelectors=["VV", "VH"])
    )
    mean = call("reduce.mean", collection={"valueReference": "both"})
    count = call("reduce.count", collection={"valueReference": "both"})
    image_ = call("Image.addBands", dstImg=mean, srcImg=count)

    found = pixels(catalogue, image_, NORTH.affine(), body=body, both=both)

    assert found.dtype.names == ("VV", "VH", "VV_1", "VH_1")
    assert (found["VV_1"] == 2).all()
    assert sorted(catalogue.reads) == [(f"{S1}/{s}", b) for s in ("N_first", "N_zone") for b in ("VH", "VV")]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32634", "EPSG:3857", "EPSG:4326"])
def test_positions_between_crss_are_exact_to_a_hundredth_of_a_pixel(crs: str, mode: Any) -> None:
    # the source holds its own column + 1000 x row, so samples say where they were taken
    grid = RequestGrid("EPSG:32633", NORTH.affine(), 100, 70)
    size = 10 / 111_000 if crs == "EPSG:4326" else 10.0
    x, y = Transformer.from_crs(grid.crs, crs, always_xy=True).transform(*centres(grid.affine, grid.shape))
    source = Projection(crs, (size, 0.0, x.min() - 20 * size, 0.0, -size, y.max() + 20 * size))

    def read(rows: tuple[int, int], cols: tuple[int, int]) -> Raster:
        j, i = np.meshgrid(np.arange(*cols), np.arange(*rows))
        return Raster(j + 1000.0 * i)

    found = sample(Alignment(), grid, source, None, read, mode).values

    u, v = (x - source.affine[2]) / size - 0.5, (source.affine[5] - y) / size - 0.5
    if mode == "bilinear":
        assert np.abs(found - (u + 1000 * v)).max() < 0.01 * 1000
        assert np.abs(np.mod(found - 1000 * v, 1e9) - u).max() < 0.01 * 1001
    else:
        assert (np.abs(found % 1000 - u) <= 0.51).all()
        assert (np.abs(found // 1000 - v) <= 0.51).all()


def test_a_turned_grid_is_sampled_where_it_lies() -> None:
    turned = (0.0, 10.0, 0.0, -10.0, 0.0, 0.0)  # columns run south, rows run east
    array = np.arange(16, dtype=np.uint16).reshape(4, 4)

    assert (pixels(one_band(array), image("x"), turned, size=4)["b"] == array.T).all()


def test_a_coarse_grid_over_the_globe_falls_back_to_exact_positions() -> None:
    # a scene of one pixel per 100 km; one grid pixel per degree bends too much for interpolation
    array = np.arange(100, dtype=np.uint16).reshape(10, 10)
    affine = (1e5, 0.0, 0.0, 0.0, -1e5, 6e6)
    grid = (1.0, 0.0, 10.0, 0.0, -1.0, 54.0)
    found = pixels(one_band(array, affine=affine), image("x"), grid, size=8, crs="EPSG:4326")["b"]

    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True).transform(*centres(grid, (8, 8)))
    col, row = np.floor(x / 1e5).astype(int), np.floor((6e6 - y) / 1e5).astype(int)
    inside = (col >= 0) & (col < 10) & (row >= 0) & (row < 10)
    assert inside.sum() > 20
    assert (found == np.where(inside, array[row.clip(0, 9), col.clip(0, 9)], 0)).all()


def test_resampling_a_composite_does_nothing() -> None:
    one = call("Filter.equals", leftField="system:index", rightValue="x")
    mean = call("reduce.mean", collection=collection(S2, one))
    after = call("Image.resample", image=mean, mode="bilinear")

    assert pixels(one_band(ROW), after, moved(0.4), size=1)["b"].item() == 0
    assert value(one_band(ROW), call("Image.projection", image=after)) == {
        "type": "Projection",
        "crs": "EPSG:4326",
        "transform": [1, 0, 0, 0, 1, 0],
    }


def test_resampling_applies_to_what_was_computed_before() -> None:
    # log10 first, then between the pixels: not the log10 of what lies between them
    array = np.array([[1, 100]], dtype=np.uint16)
    log = call("Image.resample", image=call("Image.log10", value=image("x")))

    assert pixels(one_band(array), log, moved(0.5), size=1)["b"].item() == pytest.approx(1.0)
    then = call("Image.log10", value=BILINEAR)
    assert pixels(one_band(array), then, moved(0.5), size=1)["b"].item() == pytest.approx(np.log10(50.5))


def test_reproject_computes_on_its_own_pixels() -> None:
    coarse = call("Image.reproject", image=BILINEAR, crs="EPSG:32633", crsTransform=[20, 0, 0, 0, -20, 10])

    # centres of its 20 m pixels lie between two pixels of the row: (0 + 10) / 2 and (30 + 70) / 2
    assert pixels(one_band(ROW), coarse, UNIT, size=4)["b"][0].tolist() == [5, 5, 50, 50]
    smooth = call("Image.resample", image=coarse)
    assert pixels(one_band(ROW), smooth, moved(1), size=1)["b"].item() == pytest.approx(0.75 * 5 + 0.25 * 50)


def test_means_and_counts_pass_over_masked_pixels() -> None:
    catalogue = one_band(np.array([[1.0, 2.0, 3.0]], dtype=np.float32), [[True, True, False]], index="p")
    add(catalogue, np.array([[5.0, 6.0, 7.0]], dtype=np.float32), [[True, False, False]], index="q")
    both = collection(S2, call("Filter.inList", leftField="system:index", rightValue=["p", "q"]))
    mean, count = call("reduce.mean", collection=both), call("reduce.count", collection=both)
    filled = call("Image.unmask", input=mean, value=-1, sameFootprint=False)

    assert pixels(catalogue, filled, UNIT, size=3)["b"][0].tolist() == [3, 2, -1]
    assert pixels(catalogue, count, UNIT, size=3)["b"][0].tolist() == [2, 1, 0]
    assert pixels(catalogue, call("reduce.sum", collection=both), UNIT, size=3)["b"][0].tolist() == [6, 2, 0]


def test_unmask_stays_within_the_footprint_unless_told_otherwise() -> None:
    catalogue = one_band(ROW, [[True, False, True, True]])
    grid = moved(-1)  # its first pixel lies outside the scene

    within = call("Image.unmask", input=image("x"), value=7)
    beyond = call("Image.unmask", input=image("x"), value=7, sameFootprint=False)
    assert pixels(catalogue, within, grid, size=4)["b"][0].tolist() == [0, 0, 7, 30]
    assert pixels(catalogue, beyond, grid, size=4)["b"][0].tolist() == [7, 0, 7, 30]


def test_update_mask_only_ever_masks_more() -> None:
    catalogue = one_band(ROW, [[True, False, True, True]])
    large = call("Image.gt", image1=image("x"), image2=15)
    masked = call("Image.updateMask", image=image("x"), mask=large)

    assert pixels(catalogue, call("Image.mask", image=masked), UNIT, size=4)["b"][0].tolist() == [0, 0, 1, 1]
    nothing = call("Image.updateMask", image=image("x"), mask=0)
    assert pixels(catalogue, nothing, UNIT, size=4)["b"][0].tolist() == [0, 0, 0, 0]


def test_clip_masks_by_pixel_centre() -> None:
    left = call("GeometryConstructors.Rectangle", coordinates=[0, -100, 24, 100], crs="EPSG:32633", geodesic=False)

    assert pixels(one_band(ROW + 1), call("Image.clip", input=image("x"), geometry=left), UNIT, size=4)["b"][
        0
    ].tolist() == [1, 11, 0, 0]


@pytest.mark.parametrize(
    ("value_", "dtype", "expected"),
    [
        (2.9, "uint16", 2),
        (-0.9, "int16", 0),
        (-3.0, "uint16", 0),
        (70_000.0, "uint16", 65535),
        (1e12, "int32", 2**31 - 1),
        (-1e12, "int32", -(2**31)),
        (300.0, "uint8", 255),
        (np.nan, "uint16", 0),
    ],
)
def test_casts_cut_off_the_fraction_and_stay_within_the_range(value_: float, dtype: str, expected: int) -> None:
    for source in ("float32", "float64"):
        result = cast_values(np.array([value_], dtype=source), dtype)
        assert result.dtype == dtype
        assert abs(int(result[0]) - expected) <= (128 if source == "float32" and dtype == "int32" else 0)


def test_casts_between_integers_clamp() -> None:
    assert cast_values(np.array([-5, 300], dtype=np.int16), "uint8").tolist() == [0, 255]
    assert cast_values(np.array([40_000], dtype=np.uint16), "int16").tolist() == [32_767]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Image.add", [3, 13, 33, 73]),
        ("Image.subtract", [-3, 7, 27, 67]),
        ("Image.multiply", [0, 30, 90, 210]),
        ("Image.divide", [0, 10 / 3, 10, 70 / 3]),
        ("Image.eq", [0, 0, 0, 0]),
        ("Image.neq", [1, 1, 1, 1]),
        ("Image.gt", [0, 1, 1, 1]),
        ("Image.gte", [0, 1, 1, 1]),
        ("Image.lt", [1, 0, 0, 0]),
        ("Image.lte", [1, 0, 0, 0]),
    ],
)
def test_arithmetic_with_a_number(name: str, expected: list[float]) -> None:
    found = pixels(one_band(ROW), call(name, image1=image("x"), image2=3), UNIT, size=4)["b"][0]

    assert found.tolist() == pytest.approx(expected)


def test_division_by_zero_is_zero_and_logarithms_of_it_are_masked() -> None:
    assert (
        pixels(one_band(ROW), call("Image.divide", image1=image("x"), image2=0), UNIT, size=4)["b"].any() == np.False_
    )
    log = call("Image.log10", value=image("x"))
    assert pixels(one_band(ROW), call("Image.mask", image=log), UNIT, size=4)["b"][0].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Image.round", [1, -1, 3]),
        ("Image.floor", [0, -2, 2]),
        ("Image.ceil", [1, -1, 3]),
        ("Image.abs", [0.5, 1.4, 2.6]),
    ],
)
def test_functions_of_single_pixels(name: str, expected: list[float]) -> None:
    array = np.array([[0.5, -1.4, 2.6]], dtype=np.float64)

    assert pixels(one_band(array), call(name, value=image("x")), UNIT, size=3)["b"][0].tolist() == pytest.approx(
        expected
    )


def test_bands_are_chosen_renamed_and_joined() -> None:
    catalogue = world()
    three = call("Image.select", input=image(), bandSelectors=["B1[12]", 0], newNames=["x", "y", "z"])
    twice = call("Image.addBands", dstImg=three, srcImg=three)
    over = call(
        "Image.addBands",
        dstImg=three,
        srcImg=call("Image.rename", input=call("Image.constant", value=1), names=["y"]),
        overwrite=True,
    )

    assert value(catalogue, call("Image.bandNames", image=three)) == ["x", "y", "z"]
    assert value(catalogue, call("Image.bandNames", image=twice)) == ["x", "y", "z", "x_1", "y_1", "z_1"]
    assert value(catalogue, call("Image.bandNames", image=over)) == ["x", "y", "z"]
    assert value(catalogue, call("Image.bandNames", image=call("Image.slice", image=image(), start=-2))) == [
        "B11",
        "B12",
    ]
    with pytest.raises(Refusal, match="Available bands"):
        value(catalogue, call("Image.select", input=image(), bandSelectors=["VV"]))
    with pytest.raises(Refusal, match="must match the number of bands"):
        value(catalogue, call("Image.rename", input=image(), names=["one"]))


def test_types_follow_the_operations() -> None:
    def types(result: dict[str, Any]) -> list[str]:
        return [band["data_type"]["precision"] for band in value(one_band(ROW), result)["bands"]]

    assert types(image("x")) == ["int"]
    assert types(BILINEAR) == ["double"]
    assert types(call("Image.toFloat", value=image("x"))) == ["float"]
    assert types(call("Image.constant", value=[1, 2.5])) == ["int", "double"]
    byte = value(one_band(ROW), call("Image.toUint8", value=BILINEAR))["bands"][0]["data_type"]
    assert (byte["min"], byte["max"]) == (0, 255)


def test_requests_beyond_the_limits_are_refused_in_earth_engines_words() -> None:
    fourteen = call("Image.toUint16", value=call("Image.constant", value=[0] * 14))

    with pytest.raises(Refusal) as caught:
        pixels(ArrayCatalogue(), fourteen, UNIT, size=2000)
    assert caught.value.message == (
        "Total request size (112000000 bytes) must be less than or equal to 50331648 bytes."
    )
    with pytest.raises(Refusal, match=r"Pixel grid dimensions \(32769x32769\) must be less than or equal to 32768."):
        pixels(ArrayCatalogue(), fourteen, UNIT, size=32_769)
    with pytest.raises(Refusal, match=r"The number of bands \(1025\)"):
        pixels(ArrayCatalogue(), call("Image.toUint8", value=call("Image.constant", value=[0] * 1025)), UNIT, size=1)
    with pytest.raises(Refusal, match=r"User memory limit exceeded\."):
        pixels(
            world(),
            call("Image.resample", image=call("Image.reproject", image=image(), crs="EPSG:32633", scale=0.001)),
            UNIT,
        )


def test_clip_to_bounds_and_scale_gives_the_image_a_grid() -> None:
    square = call("GeometryConstructors.Rectangle", coordinates=[0, -10, 40, 0], crs="EPSG:32633", geodesic=False)
    shown = value(one_band(ROW), call("Image.clipToBoundsAndScale", input=image("x"), geometry=square, scale=20))

    assert shown["bands"][0]["dimensions"] == [2, 1]
    assert shown["bands"][0]["crs_transform"] == pytest.approx([20, 0, 0, 0, -20, 0])


def test_images_are_put_side_by_side_and_masked_by_themselves() -> None:
    catalogue = one_band(ROW)
    side = call("Image.cat", images=[image("x"), image("x")])

    assert value(catalogue, call("Image.bandNames", image=side)) == ["b", "b_1"]
    own = call("Image.mask", image=call("Image.selfMask", image=image("x")))
    assert pixels(catalogue, own, UNIT, size=4)["b"][0].tolist() == [0, 1, 1, 1]


def test_set_default_projection_gives_a_composite_something_to_resample_from() -> None:
    one = call("Filter.equals", leftField="system:index", rightValue="x")
    mean = call("reduce.mean", collection=collection(S2, one))
    placed = call("Image.setDefaultProjection", image=mean, crs="EPSG:32633", crsTransform=list(UNIT))

    assert pixels(one_band(ROW), call("Image.resample", image=placed), moved(0.25), size=1)["b"].item() == 2.5
