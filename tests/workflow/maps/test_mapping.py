"""Maps of files: classes of a run on the image's grid, resumed to the same bytes, refused where they would mislead."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from dwplus.model.calibration import Calibration, Reliability
from dwplus.model.metrics import BINS
from dwplus.model.runs import RunFolder
from dwplus.model.score import LoadedRun, load, predict
from dwplus.pipeline.dataset.samples import Sample
from dwplus.pipeline.errors import DataError, DwplusError, UsageError
from dwplus.pipeline.own.image import Image, image_of
from dwplus.pipeline.own.pixels_dates import Dates
from dwplus.pipeline.own.pixels_products import Rules, find_products
from dwplus.pipeline.own.pixels_units import Said
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.bands import PRESETS, S2_BANDS
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.pipeline.spec.radar import Radar
from dwplus.workflow.machines import Machine
from dwplus.workflow.maps.change import transitions
from dwplus.workflow.maps.mapping import MapWork, map_image, map_share
from dwplus.workflow.maps.pairs import check_pair
from dwplus.workflow.maps.rasters import MapMade
from dwplus.workflow.maps.record import read_map
from dwplus.workflow.maps.settings import MapOptions, check_fits
from support.fixture_types import Run as CommandLine
from support.map_images import BANDS, YEAR, open_image, write_image
from support.own_tiles import own_tile, s2_values, write_raster
from support.runs import lay_out, make_run

LAYERS = ["classes", "confidence", "colour", "vv"]


def make_map(run: LoadedRun, image: Image, path: Path, *, progress: Any = None, **options: Any) -> MapMade:
    settings = MapOptions(**{"page": False, **options})
    return map_image(run, "hash", image, path, settings, radar=YEAR, progress=progress or Silent())


def codes_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def test_the_map_of_one_window_is_what_the_network_predicts_for_it(tmp_path: Path, run: LoadedRun) -> None:
    image = open_image(write_image(tmp_path, 64, 96))
    sample = Sample(image.read(BANDS[:10], 0, 64), image.read(BANDS[10:], 0, 64), np.zeros((64, 96), np.uint8), "x")

    made = make_map(run, image, tmp_path / "map.tif", confidence=True)

    assert np.array_equal(codes_of(made.path), predict(run, sample) + 1)
    assert sum(made.pixels) == 64 * 96
    with rasterio.open(made.path) as file, rasterio.open(made.confidence) as sure:
        assert (file.crs.to_epsg(), file.transform, file.nodata) == (32632, own_tile().affine, 0)
        assert file.tags()["TRAINED_ON"] == "user:own"
        assert 100 / 9 - 1 <= sure.read(1).min() <= sure.read(1).max() <= 100


def test_a_map_names_its_classes_and_shows_their_colours(tmp_path: Path, run: LoadedRun) -> None:
    made = make_map(run, open_image(write_image(tmp_path, 40, 40)), tmp_path / "map.tif")

    with rasterio.open(made.path) as file:
        assert file.colormap(1)[1] == (*DYNAMIC_WORLD.classes[0].rgb, 255)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    band = ElementTree.parse(tmp_path / "map.tif.aux.xml").getroot()[0]
    assert [one.text for one in band.find("CategoryNames")][:3] == ["no data", "Water", "Trees"]
    rows = [[cell.text for cell in row] for row in band.iter("Row")]
    assert [int(row[1]) for row in rows] == list(made.pixels)
    assert rows[0][:1] == ["1"]


def test_two_images_of_one_place_have_one_map_far_from_their_borders(tmp_path: Path, run: LoadedRun) -> None:
    """The second file is the first without 37 rows and 65 columns: windows lie on the ground, not in the file."""
    whole = write_image(tmp_path / "whole", 300, 290)
    cut = []
    for path in whole:
        with rasterio.open(path) as file:
            moved = file.transform @ Affine.translation(65, 37)
            values, names, nodata = file.read()[:, 37:, 65:], file.descriptions, file.nodata
        cut.append(write_raster(tmp_path / "cut" / path.name, values, moved, names=names, nodata=nodata))
    settings: dict[str, Any] = {"window": 96, "overlap": 0, "probabilities": True}

    for paths in (whole, cut):
        make_map(run, open_image(paths), paths[0].parent / "map.tif", **settings)

    maps = []
    for folder, skipped in (("whole", (37, 65)), ("cut", (0, 0))):
        with rasterio.open(tmp_path / folder / "map.probabilities.tif") as file:
            maps.append(file.read()[:, skipped[0] :, skipped[1] :])
    unlike = (maps[0] != maps[1]).any(axis=0)
    assert unlike[:48].any()  # the network looks at its window
    assert unlike[:, :48].any()
    assert not unlike[96:-96, 96:-96].any()


def test_pixels_without_data_have_no_class_and_no_confidence(tmp_path: Path, run: LoadedRun) -> None:
    image = open_image(write_image(tmp_path, 300, 140, empty_rows=131))

    made = make_map(run, image, tmp_path / "map.tif", window=128, overlap=32, confidence=True)

    codes = codes_of(made.path)
    assert not codes[:131].any()
    assert codes[131:].all()
    assert made.without == 131 * 140
    assert set(np.unique(codes_of(made.confidence)[:131])) == {255}


def test_pixels_outside_the_training_range_are_counted_by_band(tmp_path: Path, run: LoadedRun) -> None:
    """Reflectance up to 0.3 was seen of all bands; the first rows are brighter in two of them, VV and VH never are."""
    s2, s1 = write_image(tmp_path, 300, 140, empty_rows=10)
    with rasterio.open(s2, "r+") as file:
        pixels = np.minimum(file.read(), 2500)
        pixels[[1, 2], :50] = 8000  # B2 and B3
        file.write(pixels)
    ranges = dict.fromkeys(PRESETS["ms10"], (0.0, 0.3)) | dict.fromkeys(("VV", "VH"), (-60.0, 40.0))
    seeing = run._replace(config=replace(run.config, data=replace(run.config.data, ranges=ranges)))
    settings: dict[str, Any] = {"window": 128, "overlap": 32, "confidence": True}

    made = make_map(seeing, open_image([s2, s1]), tmp_path / "map.tif", **settings)

    expected = np.zeros((300, 140), np.uint8)
    expected[:50] = 2
    expected[:10] = 255  # no Sentinel-1
    assert made.outside is not None
    assert np.array_equal(codes_of(made.outside), expected)
    assert made.beyond == 40 * 140
    assert make_map(seeing, open_image([s2, s1]), tmp_path / "map.tif", **settings) == made
    without = make_map(run, open_image([s2, s1]), tmp_path / "other.tif", **settings)
    assert (without.outside, without.beyond) == (None, 0)
    assert not (tmp_path / "other.outside.tif").exists()


class _Stops(Silent):
    """Ends the program after so many parts of a map."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.left = parts

    def stage(self, *arguments: Any, **settings: Any) -> Any:
        found, outer = super().stage(*arguments, **settings), self

        class Step:
            def __enter__(self) -> Any:
                self.inner = found.__enter__()
                return self

            def __exit__(self, *error: object) -> Any:
                return found.__exit__(*error)

            def advance(self, *_: object) -> None:
                outer.left -= 1
                if outer.left < 0:
                    raise KeyboardInterrupt

        return Step()


@pytest.mark.parametrize("parts", [0, 1, 2])
def test_a_map_that_was_stopped_ends_with_the_same_bytes(tmp_path: Path, run: LoadedRun, parts: int) -> None:
    image = open_image(write_image(tmp_path, 333, 150))
    settings = {"window": 128, "overlap": 32}
    whole = make_map(run, image, tmp_path / "whole.tif", **settings)

    with pytest.raises(KeyboardInterrupt):
        make_map(run, image, tmp_path / "map.tif", progress=_Stops(parts), **settings)
    assert not (tmp_path / "map.tif").exists()
    resumed = make_map(run, image, tmp_path / "map.tif", **settings)

    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert not list(tmp_path.glob(".map*"))


class PixelByPixel(torch.nn.Module):
    """A network without context: a pixel's class does not depend on the window that it is seen in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(9, 12, 1, 1, generator=torch.Generator().manual_seed(0)))

    def forward(self, primary: torch.Tensor, auxiliary: torch.Tensor) -> torch.Tensor:
        return torch.sin(torch.nn.functional.conv2d(torch.cat([primary, auxiliary], dim=1), self.weight))


def test_probabilities_have_a_band_for_each_class_and_resume_to_the_same_bytes(tmp_path: Path, run: LoadedRun) -> None:
    image = open_image(write_image(tmp_path, 333, 150, empty_rows=5))
    alone = run._replace(network=PixelByPixel().eval())
    settings = {"window": 128, "overlap": 32, "probabilities": True}
    plain = make_map(alone, image, tmp_path / "plain.tif", window=128, overlap=32)
    whole = make_map(alone, image, tmp_path / "whole.tif", **settings)

    with pytest.raises(KeyboardInterrupt):
        make_map(alone, image, tmp_path / "map.tif", progress=_Stops(2), window=128, overlap=32)
    with pytest.raises(KeyboardInterrupt):
        make_map(alone, image, tmp_path / "map.tif", progress=_Stops(2), **settings)
    make_map(alone, image, tmp_path / "map.tif", **settings)

    bands, again = tmp_path / "whole.probabilities.tif", tmp_path / "map.probabilities.tif"
    assert bands.read_bytes() == again.read_bytes()
    assert plain.path.read_bytes() == whole.path.read_bytes()
    with rasterio.open(bands) as file:
        stored = file.read()
        assert (file.descriptions, file.nodata) == (DYNAMIC_WORLD.names, 255)
        assert (file.scales, file.tags()["SCALE"]) == ((0.005,) * 9, "1/200")
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (stored[:, :5] == 255).all()
    assert np.abs(stored[:, 5:].sum(axis=0, dtype=int) - 200).max() <= 5  # nine roundings of half a step at most
    of_class = np.take_along_axis(stored, codes_of(whole.path)[None].astype(int) - 1, axis=0)[0]
    assert (of_class == stored.max(axis=0))[5:].all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 200), (333, 150), (200, 37)])
def test_windows_give_every_pixel_the_class_that_it_has_by_itself(
    tmp_path: Path, run: LoadedRun, height: int, width: int
) -> None:
    image = open_image(write_image(tmp_path, height, width))
    alone = run._replace(network=PixelByPixel().eval())
    sample = Sample(image.read(BANDS[:10], 0, height), image.read(BANDS[10:], 0, height), np.zeros((1, 1)), "x")

    windows = codes_of(make_map(alone, image, tmp_path / "map.tif", window=128, overlap=40, batch=2).path)

    assert len(np.unique(windows)) == 9 or height == 1
    assert np.mean(windows == predict(alone, sample) + 1) > 0.9999  # two classes may be equally likely


class _Recorded:
    """An image that notes which rows of it are read."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.rows: dict[str, list[int]] = {"S2": [], "S1": []}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image, name)

    def read(self, bands: Sequence[str], start: int, stop: int, picture: int = 0) -> np.ndarray:
        self.rows["S1" if "VV" in bands else "S2"] += range(start, stop)
        return self._image.read(bands, start, stop, picture)


def test_rows_that_windows_share_are_read_once(tmp_path: Path, run: LoadedRun) -> None:
    # Given windows of 128 px that overlap by 72: 333 rows are four rows of windows.
    image: Any = _Recorded(open_image(write_image(tmp_path, 333, 150)))

    make_map(run, image, tmp_path / "map.tif", window=128, overlap=40)

    assert image.rows["S2"] == image.rows["S1"] == list(range(333))


def test_another_file_is_not_overwritten_and_a_complete_map_is_left_alone(tmp_path: Path, run: LoadedRun) -> None:
    image = open_image(write_image(tmp_path, 40, 40))
    (tmp_path / "taken.tif").write_text("mine")

    (tmp_path / ".taken.tif.parts").mkdir()  # rows of a map that was stopped do not make the file ours

    with pytest.raises(UsageError, match=r"taken.tif exists and is no map of this run, image and options"):
        make_map(run, image, tmp_path / "taken.tif")
    assert (tmp_path / "taken.tif").read_text() == "mine"
    with pytest.raises(UsageError, match="windows are 500 px"):
        make_map(run, image, tmp_path / "new.tif", window=500)
    assert not list(tmp_path.glob("*new*"))
    made = make_map(run, image, tmp_path / "map.tif")
    stamp = made.path.stat().st_mtime_ns
    assert make_map(run, image, tmp_path / "map.tif") == made
    assert made.path.stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match=r"map.tif exists and is no map"):
        make_map(run, image, tmp_path / "map.tif", tta=True)


def test_a_map_whose_windows_lay_in_the_image_is_another_map(
    tmp_path: Path, run: LoadedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = open_image(write_image(tmp_path, 40, 40))
    with monkeypatch.context() as before:
        before.setattr("dwplus.workflow.maps.settings.LAYOUT", "windows in the image")
        made = make_map(run, image, tmp_path / "map.tif")
    content = made.path.read_bytes()

    # What is missing beside it would be of other classes than it has.
    with pytest.raises(UsageError, match="or is of an earlier version"):
        make_map(run, image, tmp_path / "map.tif", probabilities=True)

    assert made.path.read_bytes() == content


def test_the_mean_of_eight_symmetries_turns_with_the_image(tmp_path: Path, run: LoadedRun) -> None:
    from dwplus.model.maps.classifier import Classifier

    rng = np.random.default_rng(0)
    primary, auxiliary = (rng.integers(500, 9000, (1, count, 64, 64)).astype(np.uint16) for count in (10, 2))
    classifier = Classifier(run, tta=True)

    straight = classifier(primary, auxiliary)
    turned = classifier(np.rot90(primary, axes=(2, 3)), np.rot90(auxiliary, axes=(2, 3)))

    assert np.rot90(straight, axes=(2, 3)) == pytest.approx(turned, abs=1e-5)
    assert straight.sum(axis=1) == pytest.approx(np.ones((1, 64, 64)), abs=1e-5)


def test_what_lies_beside_a_map_is_of_its_run_and_image(tmp_path: Path, run: LoadedRun) -> None:
    path = make_map(
        run, open_image(write_image(tmp_path, 40, 48)), tmp_path / "map.tif", page=True, confidence=True
    ).path

    item = json.loads((tmp_path / "map.json").read_text())
    assert item["properties"]["dwplus:scenes"] == ["s2_20190703.tif of 2019-07-03", "s1_20190703.tif of 2019-07-03"]
    assert {"map", "confidence", "names", "style", "page"} <= set(item["assets"])
    assert [layer for layer in LAYERS if f'data-layer="{layer}"' in (tmp_path / "map.html").read_text()] == LAYERS
    assert read_map(path).run == "hash"


def test_maps_of_two_years_of_one_run_can_be_compared(tmp_path: Path, run: LoadedRun) -> None:
    first = make_map(run, open_image(write_image(tmp_path, 40, 48)), tmp_path / "first.tif").path
    later = [old.rename(tmp_path / old.name.replace("2019", "2024")) for old in sorted(tmp_path.glob("s?_2019*"))]
    second = make_map(run, open_image(later), tmp_path / "second.tif").path

    assert check_pair(read_map(first), read_map(second)) == ()
    assert transitions(read_map(first), read_map(second)).changed_share == 0


def test_confidence_is_that_of_the_calibration_and_the_tags_say_so(tmp_path: Path, run: LoadedRun) -> None:
    image = open_image(write_image(tmp_path, 64, 64))
    plain = make_map(run, image, tmp_path / "plain.tif", confidence=True)
    nothing = Reliability((0,) * BINS, (0,) * BINS, (0,) * BINS, 0)
    calibration = Calibration(
        0.25, {}, DYNAMIC_WORLD.names, split="val", tiles=2, pixels=9, tiles_hash="0", experts=False,
        weights="model.safetensors", weights_sha256="0", source="user:own", before=nothing, after=nothing,
    )  # fmt: skip

    made = map_image(
        run, "hash", image, tmp_path / "map.tif", MapOptions(confidence=True), calibration=calibration,
        progress=Silent(),
    )  # fmt: skip

    inputs = run.normaliser(*(torch.from_numpy(image.read(bands, 0, 64))[None] for bands in (BANDS[:10], BANDS[10:])))
    with torch.inference_mode():
        expected = (run.network(*inputs) / 0.25).softmax(dim=1).amax(dim=1)[0].numpy()
    assert made.confidence is not None
    assert plain.confidence is not None
    assert codes_of(made.confidence) == pytest.approx(np.rint(100 * expected), abs=1)
    assert codes_of(made.confidence).mean() > codes_of(plain.confidence).mean()
    assert np.array_equal(codes_of(made.path), codes_of(plain.path))
    for one, words in ((plain, "softmax, not calibrated"), (made, "calibrated: temperature 0.250, fitted on 2 val")):
        with rasterio.open(one.path) as file:
            assert file.tags()["CONFIDENCE"].startswith(words)
    with pytest.raises(UsageError, match="is no map of this run, image and options"):
        make_map(run, image, made.path)


# --- several machines -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_three_machines_make_the_bytes_of_one_whoever_is_last(tmp_path: Path, run: LoadedRun) -> None:
    image = open_image(write_image(tmp_path, 460, 150))
    options = MapOptions(window=128, overlap=32, page=False, confidence=True)
    whole = map_image(run, "hash", image, tmp_path / "whole.tif", options, radar=YEAR, progress=Silent())
    work = MapWork(run, "hash", image, tmp_path / "map.tif", options, YEAR)

    first = [map_share(work, Machine(number, 3), Silent()) for number in (3, 1)]
    kept = work.parts.starts()
    made = map_share(work, Machine(2, 3), Silent())

    assert first == [None, None]
    assert 0 in kept
    assert made is not None
    assert made.path.read_bytes() == whole.path.read_bytes()
    assert made.confidence is not None
    assert made.confidence.read_bytes() == (tmp_path / "whole.confidence.tif").read_bytes()
    assert not list(tmp_path.glob(".map*"))
    assert map_share(work, Machine(1, 3), Silent()) == made


def test_a_part_that_a_machine_left_is_made_by_a_command_for_the_whole(tmp_path: Path, run: LoadedRun) -> None:
    image = open_image(write_image(tmp_path, 200, 60))
    whole = make_map(run, image, tmp_path / "whole.tif", window=96, overlap=0)
    work = MapWork(run, "hash", image, tmp_path / "map.tif", MapOptions(window=96, overlap=0, page=False), YEAR)

    assert map_share(work, Machine(2, 2), Silent()) is None
    with pytest.raises(UsageError, match="holds rows of another run, image"):
        map_share(replace(work, run_hash="other"), Machine(1, 2), Silent())
    with work.parts.locked(Machine(1, 2)):
        with pytest.raises(DwplusError, match="another command is making this map"):
            make_map(run, image, tmp_path / "map.tif", window=96, overlap=0)
        with pytest.raises(DwplusError, match="another command is making this map"):
            map_share(work, Machine(1, 2), Silent())
    made = make_map(run, image, tmp_path / "map.tif", window=96, overlap=0)

    assert made.path.read_bytes() == whole.path.read_bytes()


def test_the_command_of_a_machine_says_that_others_are_not_done(
    dwplus: CommandLine, tmp_path: Path, run_dir: Path
) -> None:
    s2, s1 = write_image(tmp_path, 40, 48)
    radar = ("--s1-calibration", "sigma0", "--s1-pass", "both", "--accept", "s1")
    words = ("predict", str(run_dir), "--pixels", str(s2), "--sar", str(s1), *radar, "-o", "map.tif", "--shard")

    refused, early, last = (dwplus(*words, shard) for shard in ("3/2", "1/2", "2/2"))

    assert refused[0] == 2
    assert "--shard 3/2: write which machine of how many" in refused[2]
    assert early[:2] == (0, "part 1 of 2 of map.tif is done; the machine that is last writes the map\n")
    assert (last[0], last[1].splitlines()[0]) == (0, "map.tif  1,920 pixels, 0 without data [user:own]")


# --- missing inputs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaps_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that reads tokens where an input is missing; those of Sentinel-1 are not 0."""
    made = make_run("gaps")
    data = replace(made.config.data, source="user:own", radars=(YEAR,))
    config = replace(made.config, data=data, tokens=True)
    path = lay_out(replace(made, config=config), tmp_path_factory.mktemp("runs"), weights=False)
    network = config.network(where="the test")
    network.token_auxiliary.data += 0.5
    RunFolder(path).write_weights("model.safetensors", network.state_dict())
    return path


def test_a_run_trained_for_missing_inputs_maps_pixels_of_either(tmp_path: Path, gaps_dir: Path) -> None:
    s2, s1 = write_image(tmp_path, 64, 96, empty_rows=20)
    with rasterio.open(s2, "r+") as file:
        pixels = file.read()
        pixels[:, 10:30, :50] = 0
        file.write(pixels)
    image, gaps = open_image([s2, s1]), load(gaps_dir, device="cpu")
    sample = Sample(image.read(BANDS[:10], 0, 64), image.read(BANDS[10:], 0, 64), np.zeros((64, 96), np.uint8), "x")

    made = make_map(gaps, image, tmp_path / "map.tif")

    # Rows 10 to 19 have neither input left of column 50; all other pixels have one, at least.
    expected = predict(gaps, sample) + 1
    expected[10:20, :50] = 0
    assert np.array_equal(codes_of(made.path), expected)
    assert made.without == 10 * 50


def test_files_of_one_sensor_are_mapped_by_a_run_that_was_trained_for_it_alone(
    dwplus: CommandLine, tmp_path: Path, run_dir: Path, gaps_dir: Path
) -> None:
    s2, _ = write_image(tmp_path, 40, 48)

    refused = dwplus("predict", str(run_dir), "--pixels", str(s2), "-o", "map.tif")
    code, out, err = dwplus("predict", str(gaps_dir), "--pixels", str(s2), "-o", "map.tif")

    assert refused[0] != 0
    assert "no file holds VV, VH of Sentinel-1" in refused[2]
    assert code == 0, err
    assert out.splitlines()[0] == "map.tif  1,920 pixels, 0 without data [user:own]"


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_network_of_the_sandbox_makes_no_map_unless_it_is_forced(run: LoadedRun) -> None:
    config = replace(run.config, data=replace(run.config.data, source="SANDBOX"))

    with pytest.raises(UsageError, match="trained on SANDBOX pixels"):
        check_fits(config, YEAR)
    check_fits(config, YEAR, force=True)


def test_another_sentinel_1_is_refused_unless_it_is_accepted(run: LoadedRun) -> None:
    one_date = Radar("gamma0", "none", 1, ("ASCENDING",))

    with pytest.raises(UsageError, match="gamma0, one date, ascending pass instead of sigma0"):
        check_fits(run.config, one_date)
    check_fits(run.config, one_date, accept_s1=True)


def test_images_that_do_not_fit_the_network_are_refused_in_one_line(tmp_path: Path) -> None:
    tile = own_tile()
    s2, s1 = write_image(tmp_path, 40, 40)
    coarse = write_raster(
        tmp_path / "coarse_20190703.tif", s2_values(40, 40), tile.affine @ tile.affine.scale(2), names=S2_BANDS
    )
    few = write_raster(tmp_path / "few_20190703.tif", s2_values(40, 40)[:4], tile.affine, names=S2_BANDS[:4])

    def products(*paths: Path) -> Any:
        return find_products(paths, Rules(("S2",), Dates(), Said())).products

    with pytest.raises(UsageError, match=r"reads Sentinel-1.*and no file holds it"):
        image_of(products(s2), BANDS)
    with pytest.raises(DataError, match=r"coarse_20190703.tif has pixels of 20 x 20 .* trained on 10 m"):
        image_of(products(coarse), BANDS[:10])
    with pytest.raises(UsageError, match="2 images of Sentinel-2"):
        image_of([*products(s2), *products(coarse)], BANDS[:10])
    with pytest.raises(DataError, match="few_20190703"):
        image_of(products(few), BANDS[:10])
    assert open_image([s2, s1]).shape == (40, 40)


def test_an_image_whose_values_are_no_reflectance_is_refused(tmp_path: Path, run: LoadedRun) -> None:
    s2, s1 = write_image(tmp_path, 40, 40)
    tenth = Rules(("S2", "S1"), Dates(), Said(scale=0.1))
    image = image_of(find_products([s2, s1], tenth).products, BANDS)

    with pytest.raises(DataError, match=r"another scale\?; say --scale"):
        make_map(run, image, tmp_path / "map.tif")
    assert not list(tmp_path.glob("*map*"))


def test_the_command_maps_and_says_that_pixels_are_no_area(dwplus: CommandLine, tmp_path: Path, run_dir: Path) -> None:
    s2, s1 = write_image(tmp_path, 40, 48)
    radar = ("--s1-calibration", "sigma0", "--s1-pass", "both", "--s1-mean", "dB", "--s1-scenes", "60")
    words = ("predict", str(run_dir), "--pixels", str(s2), "--sar", str(s1), *radar, "-o", str(tmp_path / "map.tif"))

    refused = dwplus(*words)
    code, out, _ = dwplus(*words, "--accept", "s1")
    again = dwplus(*words, "--accept", "s1")

    assert refused[0] == 2
    assert "another Sentinel-1" in refused[2]
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path / 'map.tif'}  1,920 pixels, 0 without data [user:own]")
    assert "not an estimate of area" in out
    assert again[0] == 0
    assert "complete already" in again[2]
