"""Signing in: what is on this machine, which way fits it, what an error means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.credentials import credentials_on_machine, in_use
from dwplus.workflow.doctor.sign_in import Machine, advice, machine_of, project_origin, trouble_of, verdict

KEY = {
    "type": "service_account",
    "client_email": "robot@p.iam.gserviceaccount.com",
    "project_id": "p",
    "private_key": "SECRET",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Somebody who has signed in with both tools and holds a key besides."""
    for name, content in {
        ".config/earthengine/credentials": {"refresh_token": "SECRET", "project": "mine"},
        ".config/gcloud/application_default_credentials.json": {
            "type": "authorized_user",
            "refresh_token": "SECRET",
            "account": "me@example.org",
        },
        "key.json": KEY,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def test_a_named_key_comes_first_then_the_login_of_earth_engine_then_that_of_gcloud(home: Path) -> None:
    held = credentials_on_machine(Configuration(credentials_file=home / "key.json"), home=home)

    assert [(one.kind.split()[0], one.account, one.project) for one in held] == [
        ("service", "robot@p.iam.gserviceaccount.com", "p"),
        ("login", "", "mine"),
        ("gcloud", "me@example.org", ""),
    ]
    assert "SECRET" not in repr(held)


def test_a_login_that_cannot_be_used_is_passed_over_and_says_why(home: Path) -> None:
    (home / ".config/earthengine/credentials").write_text('{"project": "mine"}')

    held = credentials_on_machine(Configuration(signed_in=True), home=home)

    assert held[0].trouble == "it holds no login, only settings"
    assert in_use(held, Configuration(signed_in=True)) is held[1]


def test_a_key_file_that_is_named_is_never_passed_over(home: Path) -> None:
    (home / "key.json").write_text("{")
    found = Configuration(credentials_file=home / "key.json", signed_in=True)

    held = credentials_on_machine(found, home=home)

    assert in_use(held, found) is held[0]
    assert "not a JSON document" in held[0].trouble


def test_a_login_is_not_for_another_server(home: Path) -> None:
    found = Configuration(url="http://127.0.0.1:8085", signed_in=True)

    assert in_use(credentials_on_machine(found, home=home), found) is None


@pytest.mark.parametrize(
    ("environment", "platform", "place"),
    [
        ({"DISPLAY": ":0"}, "linux", "desk"),
        ({}, "darwin", "desk"),
        ({"SSH_CONNECTION": "1 2", "DISPLAY": "localhost:10"}, "linux", "remote"),
        ({}, "linux", "remote"),
        ({"SLURM_JOB_ID": "7"}, "linux", "unattended"),
        ({"CI": "true", "DISPLAY": ":0"}, "linux", "unattended"),
    ],
)
def test_the_kind_of_machine_is_told_by_its_environment(environment: dict[str, str], platform: str, place: str) -> None:
    assert machine_of(environment, platform=platform, which=lambda _: None) == Machine(place, gcloud=False)


@pytest.mark.parametrize(
    ("seen", "do"),
    [
        ("Please authorize access to your Earth Engine account by running earthengine authenticate", "--force"),
        ("ee.Initialize: no project found. Call with project= or see http://goo.gle/ee-auth.", "set_project"),
        ("Google Earth Engine API has not been used in project 123 before or it is disabled.", "apis/library"),
        ("Caller does not have required permission to use project p. Grant serviceusage.services.use", "Consumer"),
        ("Not signed up for Earth Engine or project is not registered. Visit https://...", "cloud.google.com/earth-"),
        ("('invalid_grant: Token has been expired or revoked.', {'error': 'invalid_grant'})", "--force"),
        ("invalid_grant: Invalid JWT: Token must be a short-lived token and in a reasonable timeframe", "clock"),
        ("('invalid_grant: Invalid JWT Signature.', {'error': 'invalid_grant'})", "new key"),
    ],
)
def test_the_usual_errors_are_known_by_the_text_that_users_see(seen: str, do: str) -> None:
    trouble = trouble_of(seen)

    assert trouble is not None
    assert do in trouble.do
    assert trouble_of("something else") is None


def test_the_page_tells_what_is_there_and_puts_the_fitting_way_first(home: Path) -> None:
    found = Configuration(project="mine", credentials_file=home / "key.json")
    held = credentials_on_machine(found, home=home)

    page = advice(found, held, Machine("unattended", gcloud=False), origin="EE_PROJECT_ID")

    assert "robot@p.iam.gserviceaccount.com" in page
    assert "SECRET" not in page
    assert page.index("A cluster or CI") < page.index("A computer with a browser")
    assert "project mine (from EE_PROJECT_ID)" in page
    assert max(map(len, page.split("The usual errors")[1].splitlines())) <= 120


def test_the_verdict_is_that_of_a_build() -> None:
    assert "sandbox" in verdict(Configuration())
    assert "needs credentials" in verdict(Configuration(project="p"))
    assert "auth check" in verdict(Configuration(project="p", signed_in=True))


def test_the_project_says_where_it_comes_from() -> None:
    found = Configuration(project="p")

    assert project_origin("p", found, {}) == "--project"
    assert project_origin(None, found, {"EARTHENGINE_PROJECT": "p"}) == "EARTHENGINE_PROJECT"
    assert project_origin(None, found, {}) == "earthengine set_project"
