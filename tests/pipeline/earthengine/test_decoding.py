"""Answers of the service: checked before they are believed, decoded by hand-made examples."""

import io

import numpy as np
import pytest
from dwplus.pipeline.earthengine.decoding import eecu_seconds, npy_array, stored_values
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.recipe import REQUEST_BANDS, S1_FILL
from numpy.typing import NDArray

TYPES = [(band, "<f4" if band in ("VV", "VH") else "<u2") for band in REQUEST_BANDS]


def npy(array: NDArray[np.void]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_an_npy_answer_is_read_as_it_is() -> None:
    array = np.zeros((3, 4), dtype=TYPES)
    array["B2"] = np.arange(12).reshape(3, 4)

    np.testing.assert_array_equal(npy_array(npy(array)), array)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no NPY array: 0 bytes"),
        (b"<!DOCTYPE html><html>Sign in", r"no NPY array: 28 bytes that begin with b'<!DOCTYPE"),
        (npy(np.zeros((3, 4), dtype=TYPES))[:-1], "383 bytes of pixels instead of 384"),
        (npy(np.zeros((3, 4), dtype=TYPES)) + b"x", "385 bytes of pixels instead of 384"),
        (b"\x93NUMPY\x01\x00", ".*"),
        (npy(np.zeros(2, dtype=object)), "not pixels"),
    ],
    ids=["nothing", "a page", "short", "long", "header cut off", "objects"],
)
def test_anything_else_is_told_apart(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        npy_array(content)


def test_names_types_and_shape_are_those_that_were_asked_for() -> None:
    answer = np.zeros((2, 3), dtype=TYPES)

    stored_values(answer, (2, 3))
    with pytest.raises(ValueError, match=r"\(2, 3\) pixels instead of \(3, 2\)"):
        stored_values(answer, (3, 2))
    with pytest.raises(ValueError, match="bands"):
        stored_values(answer[list(REQUEST_BANDS[1:])], (2, 3))
    floats = answer.astype([(b, "<f8" if b == "VV" else t) for b, t in TYPES])
    with pytest.raises(ValueError, match="VV is float64"):
        stored_values(floats, (2, 3))


def test_values_are_stored_as_a_plain_loop_would() -> None:
    # Given every kind of pixel: masked, DN 0, ordinary, saturated; radar unseen, at 0 dB, very dark, masked in
    # one polarisation.
    shifted = [0, 1, 2, 2501, 65535]
    decibel = [S1_FILL, 0.0, -51.3, S1_FILL, -12.554]
    count = [0, 5, 60, 3, 1]
    answer = np.zeros((1, 5), dtype=TYPES)
    for band in REQUEST_BANDS[:11]:
        answer[band] = [shifted]
    answer["VV"] = answer["VH"] = [decibel]
    answer["S1_N"] = [count]

    stored = stored_values(answer, (1, 5))

    assert stored[0, 0].tolist() == [0 if v == 0 else max(v - 1, 1) for v in shifted]
    for band in ("VV", "VH"):
        assert stored[SHARD_BANDS.index(band), 0].tolist() == [0, 10000, 4870, 0, 8745]
    assert stored[SHARD_BANDS.index("S1_N"), 0].tolist() == count


TABLE = """ EECU·s PeakMem  Count  Description
  0.750    4.1M     60  Loading pixels: COPERNICUS/S1_GRD
  0.046    110k      1  (plumbing)
     12      2k      1  Algorithm Image.select
"""


def test_the_cost_is_the_sum_of_the_first_column() -> None:
    assert eecu_seconds(TABLE) == pytest.approx(12.796)


@pytest.mark.parametrize("table", ["", "None", "\n\n", "Total 3.0", " EECU·s PeakMem\n(nothing)\n"])
def test_another_text_tells_no_cost(table: str) -> None:
    assert eecu_seconds(table) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("band", ["VV", "VH"])
def test_an_observed_pixel_without_a_finite_value_is_a_fault_of_the_service(value: float, band: str) -> None:
    answer = np.zeros((2, 2), dtype=TYPES)
    answer["S1_N"] = 3
    answer["VV"], answer["VH"] = -10.0, -17.0
    answer[band][1, 1] = value

    with pytest.raises(ValueError, match=f"1 pixels of {band} have observations and a value that is no finite number"):
        stored_values(answer, (2, 2))


def test_a_pixel_that_was_not_observed_may_hold_anything() -> None:
    answer = np.zeros((1, 2), dtype=TYPES)
    answer["VV"] = answer["VH"] = np.nan

    assert not stored_values(answer, (1, 2))[SHARD_BANDS.index("VV")].any()
