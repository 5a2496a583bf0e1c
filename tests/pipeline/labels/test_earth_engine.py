"""Labels out of Earth Engine, over http: listed, fetched on their own grid, resumed, refused where they are none."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
import rasterio
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError, ServiceError, UsageError
from dwplus.pipeline.files.archives import members_path, read_members
from dwplus.pipeline.labels import earth_engine, index
from dwplus.pipeline.labels.earth_engine import FetchedLabels, fetch_label_assets, list_label_assets
from dwplus.pipeline.labels.ingest import Prepared, prepare_manifest
from dwplus.pipeline.labels.metadata import read_metadata
from dwplus.pipeline.raster import label_raster
from support.local_ee_client import FIXTURES, LabelClient, connect, connected
from support.local_ee_scenes import LABELS, SCENE, SHARED, TEST, TRAIN, codes

PLANET: dict[str, Any] = {"kind": "python", "file": str(FIXTURES), "function": "labels_world"}
UNKNOWN = f"unknown/{TRAIN}.tif"
EXPERT, OTHER = f"expert/EH/4/{SHARED}.tif", f"non_expert/EH/4/{SHARED}.tif"
CONSENSUS = f"consensus/EH/4/{TEST}.tif"


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(PLANET, workers=2) as running:
        connect(running)
        ee.data.setMaxRetries(1)
        yield running
        ee.Reset()


@pytest.fixture
def client(engine: LocalEarthEngine) -> Iterator[LabelClient]:
    yield LabelClient()
    engine.set_faults([])


def fetch(client: LabelClient, folder: Path, **more: Any) -> FetchedLabels:
    return fetch_label_assets(client, folder, source="SANDBOX", **more)


def test_label_images_become_label_tiles_with_what_is_known_of_them(client: LabelClient, tmp_path: Path) -> None:
    fetched = fetch(client, tmp_path)

    assert (fetched.images, fetched.written, dict(fetched.failed)) == (4, 4, {})
    assert list(fetched.ignored) == [f"{LABELS}/z_country"]
    assert "a label tile" in fetched.ignored[f"{LABELS}/z_country"]
    metadata = read_metadata(fetched.folder)
    found = index.from_earth_engine(fetched.folder, metadata=metadata)
    assert [(t.labeler, t.tile_id, t.hemisphere, t.biome, t.split) for t in found] == [
        ("consensus", TEST, "EH", 4, "test"),
        ("expert", SHARED, "EH", 4, "train"),
        ("non_expert", SHARED, "EH", 4, "train"),
        ("unknown", TRAIN, "EH", 0, "train"),
    ]
    assert metadata["unknown", TRAIN]["S2_GEE_ID"] == SCENE
    for tile, seed, size in zip(found, (4, 2, 3, 1), (512, 510, 510, 510), strict=True):
        expected = codes(seed, size)[1:-1, 1:-1] if size == 512 else codes(seed)
        np.testing.assert_array_equal(label_raster.read_label(tile.path).codes, expected)
    assert label_raster.read_label(found[0].path).transform == (10, 0, 672430, 0, -10, 5699990)


def test_every_product_of_synthetic_labels_says_so(client: LabelClient, tmp_path: Path) -> None:
    folder = fetch(client, tmp_path, splits=("test",)).folder

    with rasterio.open(folder / CONSENSUS) as raster:
        assert raster.tags()["SOURCE"] == "SANDBOX"
    rows = list(csv.DictReader((folder / "label_assets.csv").open()))
    assert {row["source"] for row in rows} == {"SANDBOX"}
    with pytest.raises(DataError, match=r"from SANDBOX, this run requests those .* from earthengine"):
        fetch_label_assets(client, tmp_path, source="earthengine")


def test_what_is_there_is_not_asked_for_again(client: LabelClient, tmp_path: Path) -> None:
    first = fetch(client, tmp_path, splits=("train",))
    before = len(client.asked)

    fetch(client, tmp_path, splits=("train",))

    assert len(client.asked) == before
    (first.folder / EXPERT).unlink()
    second = fetch(client, tmp_path)
    assert (second.images, second.written) == (4, 2)  # the one that was lost, and the test tile
    assert client.asked[before:] == ["value", "pixels", "pixels"]
    record = read_members(first.folder)
    assert record is not None
    assert sorted(record.members) == sorted([UNKNOWN, EXPERT, OTHER, CONSENSUS])
    assert record.origin["complete"] == ["test", "train"]


def test_a_killed_run_goes_on_with_the_tiles_that_are_there(client: LabelClient, tmp_path: Path) -> None:
    folder = fetch(client, tmp_path).folder
    members_path(folder).unlink()
    (folder / UNKNOWN).unlink()
    half = folder / f".{TRAIN}.tif.1.part"
    half.write_bytes(b"half")
    client.asked.clear()

    again = fetch(client, tmp_path)

    assert (again.written, client.asked) == (1, ["value", "pixels"])
    assert not half.exists()


def test_verifying_fetches_changed_tiles_again(client: LabelClient, tmp_path: Path) -> None:
    folder = fetch(client, tmp_path).folder
    content = (folder / EXPERT).read_bytes()
    (folder / EXPERT).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert fetch(client, tmp_path).written == 0
    assert fetch(client, tmp_path, verify=True).written == 1
    assert (folder / EXPERT).read_bytes() == content


def test_a_tile_that_fails_is_asked_for_again_by_the_next_run(
    engine: LocalEarthEngine, client: LabelClient, tmp_path: Path
) -> None:
    engine.set_faults([{"match": "computePixels", "body": "a_expert", "status": 400, "message": "no luck"}])
    first = fetch(client, tmp_path)
    engine.set_faults([])

    second = fetch(client, tmp_path)

    assert {name: "no luck" in why for name, why in first.failed.items()} == {SHARED: True}
    assert (first.written, second.written, dict(second.failed)) == (3, 1, {})


def test_no_tile_at_all_is_an_error(engine: LocalEarthEngine, client: LabelClient, tmp_path: Path) -> None:
    engine.set_faults([{"match": "computePixels", "status": 400, "message": "no luck"}])

    with pytest.raises(ServiceError, match=r"none of 4 label images .* no luck"):
        fetch(client, tmp_path)


def test_pages_follow_each_other_without_gap_or_twin(client: LabelClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earth_engine, "_PAGE", 2)

    found, ignored = list_label_assets(client)

    assert sorted(asset.path for asset in found) == sorted([UNKNOWN, EXPERT, OTHER, CONSENSUS])
    assert len(ignored) == 1
    assert client.asked == ["value"] * 3


def test_a_collection_that_cannot_be_read_names_the_archives(client: LabelClient) -> None:
    with pytest.raises(DataError, match=r"projects/nobody/labels cannot be read .*not found.*PANGAEA 933475, Zenodo"):
        list_label_assets(client, "projects/nobody/labels")


def test_a_collection_of_other_images_says_what_it_holds(engine: LocalEarthEngine) -> None:
    with connected(engine, planet={**PLANET, "function": "other_world"}):
        ee.data.setMaxRetries(1)
        with pytest.raises(DataError, match=r"holds 1 image that is no label tile .* 40 x 40 px.*PANGAEA"):
            list_label_assets(LabelClient())


def test_real_label_tiles_come_back_as_they_were_released(
    engine: LocalEarthEngine, real_data: Path, tmp_path: Path
) -> None:
    real = sorted(p for p in (real_data / "dynamic_world_tiles").glob("dw_*.tif") if "s2" not in p.name)

    with connected(engine, planet={**PLANET, "tiles": [str(path) for path in real]}):
        folder = fetch(LabelClient(), tmp_path).folder

    for path in real:
        released, fetched = label_raster.read_label(path), label_raster.read_label(folder / "unknown" / path.name)
        np.testing.assert_array_equal(fetched.codes, released.codes)
        assert (fetched.crs, fetched.transform) == (released.crs, released.transform)


def test_a_manifest_is_made_of_them_as_of_the_archives(client: LabelClient, tmp_path: Path) -> None:
    def prepare(**more: Any) -> Prepared:
        return prepare_manifest(DataRoot.at(tmp_path), origin="earth-engine", client=client, source="SANDBOX", **more)

    first = prepare()
    client.asked.clear()
    second = prepare()

    assert [(row.tile.id, row.labeler, row.release, row.s2_index) for row in first.manifest.rows] == [
        (TEST, "consensus", "test", ""),
        (TRAIN, "unknown", "train", SCENE),
        (SHARED, "expert", "train", ""),
    ]
    assert (first.read, second.read, second.manifest) == (4, 0, first.manifest)
    assert client.asked == []


def test_a_label_that_did_not_come_is_a_failed_tile(
    engine: LocalEarthEngine, client: LabelClient, tmp_path: Path
) -> None:
    engine.set_faults(
        [{"match": "computePixels", "body": TRAIN.replace(".", "d"), "status": 400, "message": "no luck"}]
    )

    prepared = prepare_manifest(DataRoot.at(tmp_path), origin="earth-engine", client=client, source="SANDBOX")

    assert [(row.tile, row.state, row.reason) for row in prepared.unusable] == [(TRAIN, "failed", "no_answer")]
    assert "no luck" in prepared.unusable[0].detail


def test_without_a_session_labels_cannot_come_from_earth_engine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="need a session"):
        prepare_manifest(DataRoot.at(tmp_path), origin="earth-engine")
