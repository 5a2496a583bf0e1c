"""What a manifest was made from: when it still counts, and what is forgotten with it."""

from dataclasses import replace
from pathlib import Path

from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.files.atomic import write_atomically
from dwplus.pipeline.labels.origin import ManifestOrigin, making_code, read_origin, reading_code, write_origin

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
