"""Trackers: any that accelerate knows, by name; what they are sent, and that none of them can end a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker
from dwplus.model.runs import RunFolder
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.model.training.listener import Listener
from dwplus.model.training.trackers import tracker_names
from dwplus.pipeline.errors import DwplusError, UsageError
from dwplus.workflow.pages.figures import panels_figure
from dwplus.workflow.pages.pixels import TileView
from support.tile_sets import MemoryTiles
from support.trainings import CONFIG, TINY, TWO

SHORT = replace(CONFIG, epochs=2, model_options=TINY, pictures_every=1)


class Notebook(GeneralTracker):  # type: ignore[misc]
    """A tracker of this test's own, which remembers what it is sent."""

    name = "notebook"
    requires_logging_directory = False
    main_process_only = True
    pages: list[tuple[str, Any, Any]] = []  # noqa: RUF012 - one for all, as accelerate makes the tracker

    def __init__(self, project: str, **options: Any) -> None:
        super().__init__()
        self.pages.append(("project", project, options))

    @property
    def tracker(self) -> Any:
        return self

    def start(self) -> None:
        """Nothing to start."""

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.pages.append(("settings", None, values))

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.pages.append(("row", step, values))

    def log_images(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.pages.append(("picture", step, values))


class Broken(Notebook):
    name = "broken"

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        raise ConnectionError("no route to host")


class Locked(Notebook):
    name = "locked"

    def start(self) -> None:
        raise PermissionError("sign in first")


class Draws(Listener):
    """Draws the first validation tile."""

    def shown(self) -> tuple[int, ...]:
        return (0,)

    def picture(self, epoch: int, predicted: Any) -> bytes:
        sample = MemoryTiles(TWO, split="val", count=2)[0]
        view = TileView("0", sample.primary[[0, 0, 0]], sample.auxiliary[0], sample.label, {"Prediction": predicted[0]})
        return panels_figure([view], title=f"epoch {epoch}", classes=TWO, mark="SANDBOX")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (Notebook, Broken, Locked):
        monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, one.name, one)
        monkeypatch.setattr(one, "pages", [])


def training(run_dir: Path, **changes: Any) -> RunFolder:
    tiles = {"dataset_train": MemoryTiles(TWO, count=4), "dataset_val": MemoryTiles(TWO, split="val", count=2)}
    return RunFolder(train(replace(SHORT, **changes), **tiles, run_dir=run_dir, listener=Draws()))


def test_all_trackers_of_accelerate_are_known_and_no_other() -> None:
    known = {"aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"}

    assert set(tracker_names()) >= {"tensorboard", "wandb", "aim", "mlflow", "comet_ml", "clearml", "dvclive"}
    assert set(tracker_names()) <= known
    with pytest.raises(UsageError, match=r"^tracker is 'weights'; it must be one of .*tensorboard.*, wandb$"):
        TrainConfig(tracker="weights")


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "'dwplus[trackers]'"), ("comet_ml", "comet-ml")])
def test_one_that_is_not_installed_names_the_line_that_installs_it(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])

    with pytest.raises(UsageError, match=f"tracker {name} is not installed") as error:
        training(tmp_path / "one", tracker=name)

    assert str(error.value).endswith(f"pip install {package}")
    assert not list(tmp_path.iterdir())


def test_tensorboard_writes_curves_and_pictures_into_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="extra 'trackers' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = training(tmp_path / "one", tracker="tensorboard")

    curves = EventAccumulator(str(tmp_path / "one" / "curves"))
    curves.Reload()
    tags = curves.Tags()
    assert {"loss", "lr", "samples_per_second", "miou", "oa", "f1"} <= set(tags["scalars"])
    written = [(one.step, one.value) for one in curves.Scalars("loss")]
    assert written == [(row["epoch"], pytest.approx(row["loss"], rel=1e-6)) for row in folder.read_rows()]
    assert tags["images"] == ["tiles/image/0"] or tags["images"] == ["tiles"]
    assert len(list((tmp_path / "one" / "pictures").iterdir())) == 2


@pytest.mark.usefixtures("own")
def test_a_tracker_that_a_program_registers_gets_settings_rows_and_pictures(tmp_path: Path) -> None:
    folder = training(tmp_path / "one", tracker="notebook")

    kinds = [(kind, step) for kind, step, _ in Notebook.pages]
    assert kinds[0] == ("project", "dwplus")
    assert kinds[1:] == [("settings", None), ("row", 1), ("picture", 1), ("row", 2), ("picture", 2)]
    settings, first, picture = (Notebook.pages[place][2] for place in (1, 2, 3))
    assert (settings["lr"], settings["seed"], settings["source"]) == (5e-3, 3, "SANDBOX")
    assert first == {key: value for key, value in folder.read_rows()[0].items() if value is not None}
    assert picture["tiles"][0].ndim == 3


@pytest.mark.usefixtures("own")
def test_a_tracker_that_fails_on_the_way_is_reported_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = training(tmp_path / "one", tracker="broken")

    assert folder.complete
    assert len(folder.read_rows()) == 2
    assert "the tracker took no curves of epoch 2: no route to host" in caplog.text


@pytest.mark.usefixtures("own")
def test_a_tracker_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DwplusError, match=r"^tracker locked does not start: sign in first; sign in as it asks"):
        training(tmp_path / "one", tracker="locked")
