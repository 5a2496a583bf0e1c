"""Every document that a data root, a run or a user may bring, mutated: it works, or one line says what is wrong where.

The mutations are in ``support/documents.py``. A program that could not be used again would show here as any exception
that is not one of ours: on the command line that is a traceback.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner
from dwplus.cli import cli
from dwplus.local_ee.server.faults import read_plan
from dwplus.model.run_files import SUMS
from dwplus.model.runs import RunFolder
from dwplus.model.settings import profile
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.findings import label_faults, validated_states
from dwplus.pipeline.dataset.makers import makers_of_root
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.dataset.waivers import adopt_waivers
from dwplus.pipeline.earthengine.configuration import configuration
from dwplus.pipeline.earthengine.credentials import earthengine_login, google_file
from dwplus.pipeline.errors import DataError, DwplusError
from dwplus.pipeline.files.archives import Member, MembersRecord, members_path, read_members, write_members
from dwplus.pipeline.files.atomic import write_json
from dwplus.pipeline.files.downloads import Part
from dwplus.pipeline.files.records import write_record
from dwplus.pipeline.labels.metadata import read_metadata
from dwplus.pipeline.labels.origin import ManifestOrigin, read_origin, reading_code, write_origin
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.validation.audit import audit_root
from dwplus.workflow.pages.runs import network_settings, overall_scores, scored_runs, unreadable_runs
from dwplus.workflow.source import planet_of
from support.documents import mutated_bytes, mutated_csv, mutated_json, mutated_lines, mutated_toml, mutated_workbook
from support.roots import lay_out_root
from support.runs import fresh_run, lay_out

EACH = 44
"""Mutations of each document; the slow test makes ten times as many."""

TILE = "dw_-63.3512901800_-3.9093045532-20190812"
PRODUCT = "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657"

WAIVERS = """[[waiver]]
rule = "s2-range"
tile = "dw_3*"
reason = "salt lake, looked at by hand"
until = 2999-06-30

[[waiver]]
rule = "same-scene"
tile = ""
reason = "as released"
"""

PROFILE = 'model = "segformer-small"\nepochs = 3\nlr = 1e-3\ncrop_px = 64\n[model_options]\ndropout = 0.1\n'

CONFIG = '[train]\nepochs = 3\nmodel = "segformer-small"\nset = ["lr=1e-3"]\n[build]\nlimit = 3\nbiome = [1, 2]\n'

FAULTS = """latency = 0.1
max_concurrent = 4
[[fault]]
match = "computePixels"
status = 503
times = 2
[[fault]]
drop = true
skip = 1
"""

ACCOUNT = {
    "type": "service_account",
    "client_email": "a@b.iam",
    "private_key": "x",
    "project_id": "p",
    "token_uri": "u",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, a run and all that a user may hand in."""
    folder = tmp_path_factory.mktemp("documents")
    root = lay_out_root(folder / "root")
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    audit_root(root, run=in_process, progress=Silent())
    write_record(root.recipe_file, {"hash": Recipe().hash, **asdict(Recipe())})
    write_record(root.planet_file, {"seed": 7, "tiles": 6, "version": 1})
    write_origin(root, ManifestOrigin("releases", sources={"zenodo/x.zip": "1"}), reading=reading_code())
    run = RunFolder(lay_out(fresh_run(root, "one"), root.runs, weights=False))
    (run.path / "model.safetensors").write_bytes(b"weights")
    write_members(folder / "x", MembersRecord({"size": 3}, ("*.txt",), {"a.tif": Member(3, 7, "ab")}))
    write_record(folder / "mirror" / "origin.json", {"url": "https://example.org/data"})
    write_json(folder / "y.zip.part.json", {"etag": '"a"', "last_modified": "Mon, 01 Jul 2019 00:00:00 GMT", "size": 9})
    write_json(folder / "key.json", ACCOUNT)
    write_json(folder / "home/.config/earthengine/credentials", {"project": "p", "refresh_token": "t", "scopes": ["a"]})
    for name, text in (("waivers.toml", WAIVERS), ("profile.toml", PROFILE), ("config.toml", CONFIG)):
        (folder / name).write_text(text)
    (folder / "faults.toml").write_text(FAULTS)
    root.waivers_file.write_text(WAIVERS)
    (folder / "hints").mkdir()
    book = openpyxl.Workbook()
    book.active.title = "expert"
    for row in (["dw_id", "S2_PRODUCT_ID", "date", "biome"], [TILE, PRODUCT, "2019-08-12", 4.0]):
        book.active.append(row)
    book.create_sheet("non_expert").append(["dw_id"])
    book.save(folder / "hints/tiles.xlsx")
    (folder / "hints/test.csv").write_text(f"filename,s2_system_index,date\n{TILE},20190812T143759_x_T20MMA,\n")
    (folder / "hints/label_assets.csv").write_text(f"dw_id,labeler,S2_GEE_ID\n{TILE},expert,20190812T143759_x\n")
    return folder


@dataclass(frozen=True)
class Document:
    """A document, how it is mutated, and what reads and uses it.

    Attributes:
        path: below the folder of the template.
        use: reads it there, and does what commands do with it.
        share: of the mutations of each document that this one gets: using it takes long.
    """

    path: str
    mutate: Callable[[bytes, random.Random], bytes]
    use: Callable[[Path], object]
    share: float = 1.0


def root_of(folder: Path) -> DataRoot:
    return DataRoot.at(folder / "root")


def run_of(folder: Path) -> RunFolder:
    return RunFolder(folder / "root/runs/one")


def use_findings(folder: Path) -> None:
    root = root_of(folder)
    validated_states(root.folder), label_faults(root.folder), root.unreadable()
    Dataset(root, split="test")


def use_origin(folder: Path) -> None:
    read_origin(root_of(folder)).is_up_to_date("releases", {"zenodo/x.zip": "1"})
    makers_of_root(root_of(folder))


def use_ledger(folder: Path) -> None:
    root = root_of(folder)
    root.ledger_faults(), root.left_out("test", "strict")
    Dataset(root, split="test", trained_here=False)


def use_given_waivers(folder: Path) -> None:
    adopt_waivers(folder, folder / "waivers.toml")


def use_config_of_run(folder: Path) -> None:
    config = run_of(folder).read_usable_config()
    network_settings(config)
    config.data.normaliser()


def use_scores(folder: Path) -> None:
    for run in scored_runs(root_of(folder)):
        overall_scores(run)
    for sentence in unreadable_runs(root_of(folder)).values():
        raise DwplusError(sentence)


def use_rows(folder: Path) -> None:
    (run,) = scored_runs(root_of(folder))
    for sentence in run.faults:
        raise DwplusError(sentence)


def use_audit(folder: Path) -> None:
    audit_root(root_of(folder), run=in_process, progress=Silent())


def use_config(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["--config", str(folder / "config.toml"), "train", "--data", str(folder / "none")])
    # What the command says of a value is a usage error with the name of its option; that it found no data is well.
    if result.exception is not None and not isinstance(result.exception, SystemExit | DataError):
        raise result.exception


def use_login(folder: Path) -> None:
    login = folder / "home/.config/earthengine/credentials"
    earthengine_login(login)
    configuration(url=None, project=None, environment={}, home=folder / "home")


DOCUMENTS = (
    Document("root/findings.json", mutated_json, use_findings),
    Document("root/manifest.origin.json", mutated_json, use_origin),
    Document("root/recipe.json", mutated_json, lambda folder: root_of(folder).recipe()),
    Document("root/planet.json", mutated_json, lambda folder: planet_of(root_of(folder))),
    Document("root/stats-strict.json", mutated_json, lambda folder: Dataset(root_of(folder), split="train").statistics),
    Document("root/ledger.jsonl", mutated_lines, use_ledger),
    Document("root/waivers.toml", mutated_toml, use_findings),
    Document("root/manifest.parquet", mutated_bytes, lambda folder: root_of(folder).manifest()),
    Document(
        "root/runs/one/SHA256SUMS", mutated_bytes, lambda folder: RunFolder(folder / "root/runs/one").read_config()
    ),
    Document("root/findings/tiles.json", mutated_json, use_audit, 0.25),
    Document("root/findings/shifts.json", mutated_json, use_audit, 0.25),
    Document("root/runs/one/config.json", mutated_json, use_config_of_run),
    Document("root/runs/one/scores.json", mutated_json, use_scores),
    Document("root/runs/one/metrics.jsonl", mutated_lines, use_rows),
    Document("mirror/origin.json", mutated_json, lambda folder: DataRoot.at(folder / "mirror")),
    Document("x.members.json", mutated_json, lambda folder: read_members(folder / "x")),
    Document("y.zip.part.json", mutated_json, lambda folder: Part(folder / "y.zip.part").record()),
    Document("waivers.toml", mutated_toml, use_given_waivers),
    Document("profile.toml", mutated_toml, lambda folder: profile(folder / "profile.toml")),
    Document("config.toml", mutated_toml, use_config),
    Document("faults.toml", mutated_toml, lambda folder: read_plan(folder / "faults.toml")),
    Document("key.json", mutated_json, lambda folder: google_file(folder / "key.json")),
    Document("home/.config/earthengine/credentials", mutated_json, use_login),
    Document("hints/tiles.xlsx", mutated_workbook, lambda folder: read_metadata(folder / "hints")),
    Document("hints/test.csv", mutated_csv, lambda folder: read_metadata(folder / "hints")),
    Document("hints/label_assets.csv", mutated_csv, lambda folder: read_metadata(folder / "hints")),
)


def test_documents_that_are_mutated_are_whole_before(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path / "whole")

    for document in DOCUMENTS:
        document.use(tmp_path / "whole")

    assert members_path(tmp_path / "whole/x").is_file()
    assert sum(EACH * document.share for document in DOCUMENTS) > 1000


@pytest.mark.parametrize("each", [EACH, pytest.param(10 * EACH, marks=pytest.mark.slow)])
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.path)
def test_no_mutated_document_is_a_traceback(template: Path, tmp_path: Path, document: Document, each: int) -> None:
    folder = tmp_path / "mutated"
    shutil.copytree(template, folder)
    path, whole = folder / document.path, (template / document.path).read_bytes()
    if document.path.startswith("root/runs") and path.name != SUMS:
        (path.parent / SUMS).unlink()  # as an earlier version left it: what is read is not compared with it
    rng = random.Random(document.path)
    said = set()
    for number in range(round(each * document.share)):
        content = document.mutate(whole, rng)
        path.write_bytes(content)
        sentence = sentence_of(document.use, folder)
        assert "\n" not in sentence, (number, content[:300])
        assert len(sentence) < 1500, (number, sentence)
        assert not sentence or names(document.path, sentence), (number, sentence)
        said.add(sentence)
    # Not all of them were passed over.
    assert len(said) > 1 or document.path.startswith(PASSED_OVER)


PASSED_OVER = (
    *("hints/", "home/", "key.json", "x.members", "y.zip"),
    *("root/ledger", "root/manifest.origin", "root/findings/"),
)
"""Documents of which nothing is said here: they are hints, or made again; damaged lines of a ledger are counted."""


def sentence_of(use: Callable[[Path], Any], folder: Path) -> str:
    """What is said where the document cannot be used; empty where it can."""
    try:
        use(folder)
    except DwplusError as error:
        return str(error)
    return ""


def names(path: str, sentence: str) -> bool:
    """Whether a sentence says which file it is about, or which tiles of the data set follow from what the file says."""
    of_the_set = ("SHA256SUMS", "no usable tile", "have changed since", "holds no complete tile", "its network")
    return Path(path).name in sentence or any(words in sentence for words in of_the_set)
