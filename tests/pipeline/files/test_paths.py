"""Paths out of files never leave their folder."""

import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files import paths
from dwplus.pipeline.files.paths import home_folder, inside


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "", "a\\..\\b", "a\x00b", "a\n"])
def test_a_path_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"members\.json names the path .* leaves its folder"):
        inside(name, where="members.json")


@pytest.mark.parametrize("name", ["a.tif", "EH/4/dw_1.0_2.0-20190101.tif", "..a", "a..b/c"])
def test_a_path_below_its_folder_is_given_back(name: str) -> None:
    assert inside(name, where="here") == name


def test_an_account_without_a_home_folder_has_none_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(paths.Path, "home", none)

    assert not home_folder().exists()
