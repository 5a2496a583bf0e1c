"""Documents: what they name exists, and what they show runs."""

import importlib
import re

import numpy as np
import pytest
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.progress import Silent
from support.fixture_types import LayOut
from support.paths import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def test_every_page_is_found_from_a_question() -> None:
    table = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")

    for page in (REPOSITORY / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_files_that_contributors_are_sent_to_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")

    paths = re.findall(r"`((?:pipeline|model|local_ee|workflow|commands|tests|docs|benchmarks)/[\w./]*)`", text)
    assert len(paths) > 20
    for path in paths:
        assert (REPOSITORY / path).exists(), path


def test_the_walks_name_files_that_exist() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    walks = text.split("## Four walks")[1].split("## Decisions")[0]

    files = re.findall(r"^    ((?:pipeline|model|local_ee|workflow|commands)/\S+\.py)", walks, flags=re.MULTILINE)
    assert len(files) > 30
    for path in files:
        assert (REPOSITORY / path).exists(), path


def test_the_python_of_the_readme_runs(data_root: LayOut, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = data_root(train=2, test=1, size=510)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code
    names: dict[str, object] = {}

    exec(code.group(1), names)

    sample = names["sample"]
    assert (sample.primary.shape, sample.primary.dtype) == ((10, 510, 510), np.uint16)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_pages_name_exist(page) -> None:
    text = page.read_text(encoding="utf-8")

    for path in re.findall(r"`((?:pipeline|model|local_ee|workflow|commands|tests|benchmarks)/[\w/]+\.py)`", text):
        assert (REPOSITORY / path).exists(), path
    for module, names in re.findall(r"^from dwplus\.([\w.]+) import ([\w, ]+)$", text, flags=re.MULTILINE):
        found = importlib.import_module(f"dwplus.{module}")
        assert all(hasattr(found, name.strip()) for name in names.split(",")), module
