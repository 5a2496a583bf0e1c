"""What a manifest was made from: when it still counts, and what is forgotten with it."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.files.atomic import write_atomically
from dwplus.pipeline.labels import origin
from dwplus.pipeline.labels.origin import (
    MAKING,
    READING,
    ManifestOrigin,
    making_code,
    read_origin,
    reading_code,
    write_origin,
)
from support.flips import flips

TRAIN, TEST = "dw_9.0_45.0-20190701", "dw_-0.5169602165_51.4043077942-20170409"
HELD = ManifestOrigin(
    origin="releases",
    reading=reading_code(),
    making=making_code(),
    manifest="hash",
    sources={"pangaea/Experts_tiles.zip": "1", "zenodo/dw_test.zip": "2"},
    bad_labels={TRAIN: "is torn", TEST: "is torn"},
)


def test_a_manifest_is_up_to_date_while_its_sources_and_the_code_are_the_same() -> None:
    assert HELD.is_up_to_date("releases", {"zenodo/dw_test.zip": "2"})
    assert not HELD.is_up_to_date("releases", {"zenodo/dw_test.zip": "3"})
    assert not HELD.is_up_to_date("releases", {"pangaea/workbook.xlsx": "1"})
    assert not replace(HELD, making="other code").is_up_to_date("releases", {})
    assert replace(HELD, making="other code").reads_alike("releases")
    assert not replace(HELD, reading="other code").reads_alike("releases")


def test_a_split_that_is_read_again_tells_its_bad_labels_again() -> None:
    after = HELD.with_sources("releases", ["test"], {"zenodo/dw_test.zip": "3"}, {})

    assert after.sources == {"pangaea/Experts_tiles.zip": "1", "zenodo/dw_test.zip": "3"}
    assert after.bad_labels == {TRAIN: "is torn"}


def test_labels_from_elsewhere_forget_what_the_archives_gave() -> None:
    after = HELD.with_sources("earth-engine", ["train", "test"], {"earth-engine": "4"}, {})

    assert (after.origin, after.sources, after.bad_labels) == ("earth-engine", {"earth-engine": "4"}, {})


def test_a_manifest_that_changed_since_has_no_origin(tmp_path: Path) -> None:
    root = DataRoot.at(tmp_path)
    write_atomically(root.manifest_file, b"manifest")
    write_origin(root, HELD, reading=reading_code())

    assert read_origin(root).sources == HELD.sources
    root.manifest_file.write_bytes(b"another one")
    assert read_origin(root) == ManifestOrigin()


def test_no_flipped_byte_of_the_origin_is_accepted_in_silence(tmp_path: Path) -> None:
    # What cannot be believed is made again: the labels are read once more.
    root = DataRoot.at(tmp_path)
    write_atomically(root.manifest_file, b"manifest")
    write_origin(root, HELD, reading=reading_code())
    whole, forgotten = read_origin(root), 0

    for place in flips(root.label_origin_file):
        found = read_origin(root)
        assert found in (whole, ManifestOrigin()), place
        forgotten += found != whole

    assert forgotten > 30
    assert read_origin(root) == whole


def imported_by(module: str) -> set[str]:
    """Modules of spec, raster and labels that a module imports, named relative to ``labels``."""
    package = origin.source_file(module).parent.name
    found = set()
    for node in ast.walk(ast.parse(origin.source_file(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level in (1, 2) and node.module:
            path = f"{package}.{node.module}" if node.level == 1 else node.module
            found.add(f".{path.removeprefix('labels.')}" if path.startswith("labels.") else f"..{path}")
    return {name for name in found if name.startswith((".", "..spec", "..raster")) and name.count(".") < 4}


def test_the_code_that_decides_a_row_is_all_that_reading_imports() -> None:
    imported = {name for module in READING for name in imported_by(module)}
    of_labels = {name for name in imported if not name.startswith("..") or name.startswith(("..spec", "..raster"))}

    # Records, splits and requests to Earth Engine do not decide what a label tile says.
    apart = {".origin", ".splits", ".earth_engine", "..spec.sources", "..spec.bands", "..spec.recipe", "..spec.words"}
    apart |= {"..raster.geotiff_blocks", "..raster.gdal", "..spec.layers"}
    assert of_labels - apart <= set(READING)


def test_a_module_that_moved_away_is_named_and_never_left_out_in_silence() -> None:
    for name in (*READING, *MAKING):
        assert origin.source_file(name).is_file()
    with pytest.raises(ModuleNotFoundError, match=r"names \.\.spec\.nowhere, which does not exist"):
        origin.source_file("..spec.nowhere")
