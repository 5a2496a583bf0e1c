"""Maps of areas from an Earth Engine over real HTTP: those of the network on the same pixels, resumed, refused."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.planet.planet import VERSION
from dwplus.model.maps.classifier import Classifier
from dwplus.model.score import LoadedRun, load, predict
from dwplus.pipeline.areas import image as area_image
from dwplus.pipeline.areas.composite import composite_of
from dwplus.pipeline.areas.outline import outline_of_box
from dwplus.pipeline.dataset.ledger import read_ledger
from dwplus.pipeline.dataset.samples import Sample
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.session import Session
from dwplus.pipeline.errors import MachineError, UsageError
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.bands import PRESETS, S2_BANDS
from dwplus.pipeline.spec.radar import Radar
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.sources import EARTH_ENGINE, SANDBOX
from dwplus.workflow.machines import Machine
from dwplus.workflow.maps.area_map import AreaMade, map_area
from dwplus.workflow.maps.area_request import Inputs, Wish, check_source, inputs_of
from dwplus.workflow.maps.settings import MapOptions, check_composite
from support.fixture_types import Run as CommandLine
from support.runs import lay_out, make_run
from support.small_disk import no_file_above

YEAR = Radar("sigma0", "dB", None, ("ASCENDING", "DESCENDING"))
BANDS = (*PRESETS["ms10"], "VV", "VH")
TODAY = date(2026, 11, 28)
FEW = Inputs(s2=True, level="L2A", recipe=Recipe(half_window_days=12))
BOX = "9.0,45.0,9.0025,45.002"
OVER_TWO_ZONES = "11.999,45.0,12.001,45.002"


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(workers=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that nobody trained, on the sandbox by its settings."""
    made = make_run("net")
    data = replace(made.config.data, source="SANDBOX", radars=(YEAR,), planet=VERSION)
    return lay_out(replace(made, config=replace(made.config, data=data)), tmp_path_factory.mktemp("root") / "runs")


@pytest.fixture(scope="module")
def run(run_dir: Path) -> LoadedRun:
    return load(run_dir, device="cpu")


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


class Stops(Silent):
    """Ends the program between download and classes."""

    def stage(self, title: str, *arguments: Any, **settings: Any) -> Any:
        if title == "Mapping":
            raise KeyboardInterrupt
        return super().stage(title, *arguments, **settings)


def wish(box: str = BOX, **when: Any) -> Wish:
    return Wish(outline_of_box(box), **(when or {"day": date(2024, 7, 1)}))


def no_service() -> Session:
    raise AssertionError("the service was asked")


def make(
    run: LoadedRun,
    engine: LocalEarthEngine | None,
    wanted: Wish,
    path: Path,
    *,
    progress: Any = None,
    today: date = TODAY,
    machine: Machine = Machine(),  # noqa: B008 - a frozen value
    **options: Any,
) -> AreaMade:
    def open_session() -> Session:
        if engine is None:
            return no_service()
        return connect(Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file))

    return map_area(
        run, "hash", wanted, path, MapOptions(**options), inputs=FEW, source="SANDBOX", connect=open_session,
        concurrency=2, today=today, machine=machine, progress=progress or Silent(),
    )  # fmt: skip


def codes_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def test_the_map_of_an_area_is_what_the_network_predicts_on_its_pixels(
    tmp_path: Path, run: LoadedRun, engine: LocalEarthEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images: list[area_image.AreaImage] = []
    read = area_image.AreaImage.read

    def kept(self: area_image.AreaImage, bands: Any, start: int, stop: int, picture: int = 0) -> Any:
        pixels = read(self, bands, start, stop, picture)
        images.append((self, tuple(bands), pixels, self.shown(start, stop, picture)))  # type: ignore[arg-type]
        return pixels

    monkeypatch.setattr(area_image.AreaImage, "read", kept)
    told = Told()

    made = make(run, engine, wish(), tmp_path / "town.tif", progress=told, confidence=True)

    # Given the pixels that the map was made from, the network alone gives the same classes.
    (_, _, primary, shown), (image, _, auxiliary, _) = images[:2]  # type: ignore[misc]
    sample = Sample(primary, auxiliary, np.zeros((1, 1), np.uint8), "x")
    expected = np.where(shown, predict(run, sample) + 1, 0)
    rows, columns = image.zone.rows, image.zone.columns
    (one,) = made.maps
    assert np.array_equal(codes_of(one.path), expected[slice(*rows), slice(*columns)])
    assert 0 < sum(one.pixels) <= codes_of(one.path).size
    with rasterio.open(one.path) as file:
        tags = file.tags()
        assert (file.crs.to_epsg(), file.res) == (32632, (10.0, 10.0))
    assert tags["SANDBOX"] == "pixels of the local Earth Engine, a synthetic planet"
    assert tags["S2_SCENES"].split()[0].startswith(tags["S2_DAYS"].replace("-", ""))
    assert tags["CLOUD_RULE"] == "no class where Cloud Score+ cs_cdf < 0.60"
    assert tags["S1_RECIPE"] == FEW.recipe.hash  # type: ignore[union-attr]
    assert tags["LICENCE"].startswith("SANDBOX")
    assert any("fewer than 10 observations of Sentinel-1" in line for line in told.lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("town.confidence.tif", "town.html", "town.json", "town.qml", "town.tif", "town.tif.aux.xml")
    ]

    # Then the same command asks nobody, and another one does not write over it.
    again = make(run, None, wish(), one.path, confidence=True)
    assert again.maps == made.maps
    with pytest.raises(UsageError, match="exists and is no map of this run, area and options"):
        make(run, None, wish(day=date(2024, 8, 1)), one.path)
    with pytest.raises(UsageError, match="exists and is no map of this run, area and options"):
        make(run, None, wish(), one.path, tta=True)


def test_a_year_averages_the_probabilities_of_its_pictures_pixel_by_pixel(
    tmp_path: Path, run: LoadedRun, engine: LocalEarthEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, dict[str, Any]] = {}
    read = area_image.AreaImage.read

    def kept(self: area_image.AreaImage, bands: Any, start: int, stop: int, picture: int = 0) -> Any:
        pixels = read(self, bands, start, stop, picture)
        held = seen.setdefault(picture, {"image": self, "shown": self.shown(start, stop, picture)})
        if tuple(bands) in (BANDS[:10], BANDS[10:]):  # what the network reads; the page of the map reads others
            held["primary" if "B4" in bands else "auxiliary"] = pixels
        return pixels

    monkeypatch.setattr(area_image.AreaImage, "read", kept)
    told = Told()

    # Given the first three months of a year: as if today were their end.
    made = make(run, engine, wish(year=2024), tmp_path / "year.tif", progress=told, today=date(2024, 3, 31))

    # Then a plain loop over its pictures, each classified alone, gives the same map and counts.
    image = seen[0]["image"]
    total, count = np.zeros((9, *image.shape)), np.zeros(image.shape, np.uint8)
    for held in seen.values():
        probabilities = Classifier(run)(held["primary"][None], held["auxiliary"][None])[0]
        total += np.where(held["shown"], probabilities, 0)
        count += held["shown"]
    inside = slice(*image.zone.rows), slice(*image.zone.columns)
    (one,) = made.maps
    assert 2 <= len(seen) <= 3
    codes, mean = codes_of(one.path).astype(int), (total / np.maximum(count, 1))[:, *inside]
    assert np.array_equal(codes == 0, count[inside] == 0)
    # Two classes may be equally likely but for rounding: none is likelier than the one shown.
    shown = np.take_along_axis(mean, np.maximum(codes, 1)[None] - 1, axis=0)[0]
    assert np.where(codes, mean.max(axis=0) - shown, 0).max() < 1e-4
    assert one.count == tmp_path / "year.count.tif"
    assert np.array_equal(codes_of(one.count), count[inside])
    with rasterio.open(one.path) as file:
        tags = file.tags()
    months = [day[:7] for day in tags["S2_DAYS"].split(", ")]
    assert months == sorted(set(months))
    assert len(months) == len(seen)
    # The window of Sentinel-1 is centred on 2 July, and lies in the future.
    assert tags["S1_WINDOW"] == "2024-06-20/2024-07-14"
    assert any("ends in the future: scenes up to 2024-03-31 enter the mean" in line for line in told.lines)
    assert make(run, None, wish(year=2024), one.path, today=date(2024, 3, 31)).maps == made.maps


@pytest.mark.parametrize("kind", ["median", "medoid"])
def test_a_composite_of_a_year_is_classified_as_one_picture(
    tmp_path: Path, run: LoadedRun, engine: LocalEarthEngine, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    kept: dict[str, Any] = {}
    read = area_image.AreaImage.read

    def keeping(self: area_image.AreaImage, bands: Any, start: int, stop: int, picture: int = 0) -> Any:
        pixels = read(self, bands, start, stop, picture)
        if tuple(bands) in (BANDS[:10], BANDS[10:]) and self.composite:
            single = replace(self, composite=None)
            kept["primary" if "B4" in bands else "auxiliary"] = pixels
            kept.update(image=single, shown=self.shown(start, stop))
            kept["pictures"] = [read(single, S2_BANDS, start, stop, number) for number in range(single.pictures)]
            kept["clear"] = [single.shown(start, stop, number) for number in range(single.pictures)]
        return pixels

    monkeypatch.setattr(area_image.AreaImage, "read", keeping)
    until = date(2024, 3, 31)

    made = make(run, engine, wish(year=2024), tmp_path / "year.tif", today=until, composite=kind)

    # Then its spectra are those of the pictures that show a pixel, chosen by all twelve bands.
    image, pictures, clear = kept["image"], np.stack(kept["pictures"]), np.stack(kept["clear"])
    expected = composite_of(kind, pictures, clear)[[S2_BANDS.index(band) for band in BANDS[:10]]]
    assert len(pictures) > 1
    assert np.array_equal(np.where(kept["shown"], kept["primary"], 0), expected)
    assert np.array_equal(kept["shown"], clear.any(axis=0))
    # And the map is what the network predicts on them.
    sample = Sample(kept["primary"], kept["auxiliary"], np.zeros((1, 1), np.uint8), "x")
    codes = np.where(kept["shown"], predict(run, sample) + 1, 0)
    (one,) = made.maps
    assert np.array_equal(codes_of(one.path), codes[slice(*image.zone.rows), slice(*image.zone.columns)])
    assert one.count is None
    with rasterio.open(one.path) as file:
        assert file.tags()["RECIPE"].startswith(f"a {kind} of Sentinel-2 images; ")
    # Another kind is another map.
    with pytest.raises(UsageError, match="exists and is no map of this run, area and options"):
        make(run, None, wish(year=2024), one.path, today=until)
    assert make(run, None, wish(year=2024), one.path, today=until, composite=kind).maps == made.maps


def test_composites_are_for_networks_that_were_trained_on_such(run: LoadedRun) -> None:
    single = run.config.data
    trained = replace(single, composite="medoid")

    check_composite(single, None)
    check_composite(trained, "medoid")
    check_composite(replace(single, primary=("VV",), auxiliary=()), "median")  # Sentinel-2 is not read
    for data, given, said in (
        (single, "median", "median composites of Sentinel-2, not single scenes, and was trained on no such spectra"),
        (trained, None, "single scenes of Sentinel-2, not medoid composites: say --composite medoid"),
        (trained, "median", "median composites of Sentinel-2, not medoid composites: say --composite medoid"),
    ):
        with pytest.raises(UsageError, match=said):
            check_composite(data, given)  # type: ignore[arg-type]  # a name of a composite
        check_composite(data, given, accept_s2=True)  # type: ignore[arg-type]  # the same


def test_an_area_over_two_zones_has_a_map_for_each(tmp_path: Path, run: LoadedRun, engine: LocalEarthEngine) -> None:
    made = make(run, engine, wish(OVER_TWO_ZONES), tmp_path / "town.tif")

    assert [one.path.name for one in made.maps] == ["town-32N.tif", "town-33N.tif"]
    for one, epsg in zip(made.maps, (32632, 32633), strict=True):
        with rasterio.open(one.path) as file:
            assert file.crs.to_epsg() == epsg
    pixels = sum(int((codes_of(one.path) > 0).sum()) for one in made.maps)
    assert pixels * 1e-4 <= wish(OVER_TWO_ZONES).outline.km2 * 1.05
    assert not (tmp_path / "town.tif").exists()
    assert made.index == tmp_path / "town.vrt"
    with rasterio.open(made.index) as file:
        assert (file.read(1) > 0).sum() == pytest.approx(pixels, rel=0.1)
        assert "SANDBOX" in file.tags()
    assert make(run, None, wish(OVER_TWO_ZONES), tmp_path / "town.tif") == made


def test_a_map_that_was_stopped_between_download_and_classes_resumes_with_the_same_scenes(
    tmp_path: Path, run: LoadedRun, engine: LocalEarthEngine
) -> None:
    whole = make(run, engine, wish(), tmp_path / "whole.tif")
    with pytest.raises(KeyboardInterrupt):
        make(run, engine, wish(), tmp_path / "town.tif", progress=Stops())
    assert not (tmp_path / "town.tif").exists()
    before = engine.log()["counts"]

    resumed = make(run, engine, wish(), tmp_path / "town.tif")

    after = engine.log()["counts"]
    assert {name: count for name, count in after.items() if "computePixels" in name} == {
        name: count for name, count in before.items() if "computePixels" in name
    }
    assert resumed.maps[0].path.read_bytes() == whole.maps[0].path.read_bytes()


@pytest.mark.slow
def test_wherever_the_disk_is_full_while_a_map_is_written_nothing_is_half_written(
    tmp_path: Path, run: LoadedRun, engine: LocalEarthEngine
) -> None:
    settings: dict[str, Any] = {"confidence": True, "probabilities": True}
    whole = make(run, engine, wish(), tmp_path / "whole.tif", **settings)
    with pytest.raises(KeyboardInterrupt):
        make(run, engine, wish(), tmp_path / "town.tif", progress=Stops(), **settings)
    path, said = tmp_path / "town.tif", []

    for size in (50, *range(500, 4_500, 250), 6_000, 10_000, 20_000):
        with no_file_above(size):
            try:
                make(run, engine, wish(), path, **settings)
            except MachineError as error:
                said.append(str(error))
        for ending in (".tif", ".confidence.tif", ".probabilities.tif"):
            if (made := path.with_suffix(ending)).exists():
                assert made.read_bytes() == (tmp_path / f"whole{ending}").read_bytes(), (size, ending)
    made = make(run, engine, wish(), path, **settings)

    assert all(one.startswith("cannot write ") for one in said)
    assert any("rows-" in one for one in said), said
    assert any("/town.p" in one for one in said), said
    assert path.read_bytes() == whole.maps[0].path.read_bytes()
    assert made.maps[0].pixels == whole.maps[0].pixels
    assert not list(tmp_path.glob(".town*"))


@pytest.mark.slow
def test_two_machines_map_an_area_to_the_bytes_of_one(tmp_path: Path, run: LoadedRun, engine: LocalEarthEngine) -> None:
    tall = "9.0,45.0,9.001,45.1"  # some 1,180 rows: three blocks, one above the other
    settings = {"window": 96, "overlap": 0, "confidence": True}
    whole = make(run, engine, wish(tall), tmp_path / "whole.tif", **settings)

    first = make(run, engine, wish(tall), tmp_path / "town.tif", machine=Machine(1, 2), **settings)
    assert first == AreaMade(())
    ledgers = tmp_path / ".town.tif.pixels"
    assert {row.split("-")[1] for row in read_ledger(ledgers / "1-of-2")} == {"r000000", "r000512"}
    assert not (tmp_path / "town.tif").exists()
    last = make(run, engine, wish(tall), tmp_path / "town.tif", machine=Machine(2, 2), **settings)

    assert last.maps[0].path.read_bytes() == whole.maps[0].path.read_bytes()
    for ending in (".confidence.tif", ".tif.aux.xml"):
        assert (tmp_path / f"town{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert not list(tmp_path.glob(".town*"))
    assert make(run, None, wish(tall), tmp_path / "town.tif", machine=Machine(1, 2), **settings) == last


# --- what is downloaded, and what is refused --------------------------------------------------------------------------


def test_a_network_gets_the_sentinel_1_that_it_was_trained_on(run: LoadedRun) -> None:
    trained = run.config.data
    ten = replace(trained, radars=(Radar("sigma0", "linear", 10, ("DESCENDING",)),))
    edges = Recipe(s1_edge_m=2000)

    assert inputs_of(trained) == Inputs(True, "L2A", Recipe())
    assert inputs_of(ten).recipe == Recipe(s1_mean="linear", s1_max_scenes=10, s1_passes=("DESCENDING",))
    assert inputs_of(trained, built=edges).recipe == edges  # as its data root was built
    assert inputs_of(ten, built=edges).recipe == inputs_of(ten).recipe
    assert inputs_of(replace(trained, radars=())).notes == (
        "the run does not record how its Sentinel-1 was made: the default recipe is used",
    )
    assert inputs_of(replace(trained, auxiliary=())).recipe is None
    assert inputs_of(replace(trained, auxiliary=(), s2_level="L1C")) == Inputs(True, "L1C", None)
    assert not inputs_of(replace(trained, primary=("VV",), auxiliary=())).s2


def test_sentinel_1_that_earth_engine_does_not_have_is_refused_unless_it_is_accepted(run: LoadedRun) -> None:
    one_date = replace(run.config.data, radars=(Radar("gamma0", "none", 1, ("ASCENDING",)),))

    with pytest.raises(UsageError, match=r"gamma0, one date, ascending pass, which Earth Engine does not have"):
        inputs_of(one_date)
    assert inputs_of(one_date, accept_s1=True).recipe == Recipe()


def test_synthetic_and_real_never_go_together_unless_forced(run: LoadedRun) -> None:
    synthetic, real = run.config.data, replace(run.config.data, source="earthengine", planet=None)

    check_source(synthetic, SANDBOX, planet=VERSION)
    check_source(real, EARTH_ENGINE, planet=VERSION)
    for trained, pixels, said in (
        (synthetic, EARTH_ENGINE, "trained on SANDBOX pixels"),
        (real, SANDBOX, "pixels would come from the sandbox"),
    ):
        with pytest.raises(UsageError, match=said):
            check_source(trained, pixels, planet=VERSION)
        check_source(trained, pixels, planet=VERSION, force=True)
    with pytest.raises(UsageError, match="version 99 of the synthetic planet"):
        check_source(synthetic, SANDBOX, planet=99)


def test_the_command_maps_a_box(
    dwplus: CommandLine, tmp_path: Path, run_dir: Path, engine: LocalEarthEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)
    words = ("predict", str(run_dir), "--bbox", BOX, "--date", "2024-07-01")

    code, out, err = dwplus(*words)

    path = Path("box_9_45_9.0025_45.002-2024-07-01.tif")
    assert (code, path.is_file()) == (0, True), err
    assert out.splitlines()[0].startswith(f"{path}  ")
    assert out.splitlines()[0].endswith("[SANDBOX]")
    assert "Sentinel-2 of 2024-0" in err


def test_a_dry_run_says_what_it_would_take_and_asks_nobody(
    dwplus_unconfigured: CommandLine, tmp_path: Path, run_dir: Path
) -> None:
    code, out, _ = dwplus_unconfigured("predict", str(run_dir), "--bbox", "9,45,11,47", "--year", "2024", "--dry-run")

    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("--bbox 9,45,11,47: 34,")
    assert "in EPSG:32632, up to 12 pictures of Sentinel-2; nothing is requested" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["blocks", "requests", "download", "disk", "time", "compute"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to map: --area FILE"),
        (("--bbox", BOX, "--area", "a.geojson", "--date", "2024-07-01"), "say what to map"),
        (("--bbox", BOX), "say when: --date 2024-07-01 for one scene, or --year 2023"),
        (("--bbox", BOX, "--date", "2024-07-01", "--year", "2024"), "say when"),
        (("--bbox", BOX, "--date", "July"), "--date"),
        (("--bbox", BOX, "--year", "2024", "--date-window", "3d"), "--date-window is about --date"),
        (("--bbox", BOX, "--date", "2024-07-01", "--scale", "0.0001"), "--scale describes files"),
        (("--bbox", BOX, "--date", "2024-07-01", "--sar", "s1.tif"), "--sar describes files"),
        (("--bbox", "9,45,11,47", "--date", "2024-07-01"), "more than --max-km2 10,000"),
        (("--bbox", BOX, "--date", "2024-07-01", "--max-km2", "0.01"), "more than --max-km2 0"),
        (("--bbox", BOX, "--date", "2024-07-01", "-o", "nowhere/town.tif"), "there is no folder nowhere"),
        (("--bbox", BOX, "--date", "2024-07-01", "-o", "town.png"), "a map is a GeoTIFF; name it town.tif"),
        (("--area", "town.geojson", "--date", "2024-07-01"), "--area town.geojson: no such file"),
        (("--pixels", "a.tif", "--year", "2024", "-o", "m.tif"), "--year is for areas"),
        (("--pixels", "a.tif"), "name the map with -o"),
        (("--bbox", BOX, "--date", "2099-01-01", "--source", "sandbox"), "--date 2099-01-01 lies in the future"),
    ],
)
def test_words_that_do_not_go_together_are_refused_before_anything_is_written(
    dwplus_unconfigured: CommandLine, tmp_path: Path, run_dir: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, err = dwplus_unconfigured("predict", str(run_dir), *words)

    assert code == 2, err
    assert said in err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
