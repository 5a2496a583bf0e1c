"""Which server is asked, and what its pixels are called."""

from pathlib import Path

import pytest
from dwplus.pipeline.earthengine.configuration import Configuration, answered_by, choose_source, configuration
from dwplus.pipeline.errors import AuthenticationError
from dwplus.pipeline.spec.sources import EARTH_ENGINE, SANDBOX


def test_without_any_configuration_the_sandbox_is_used(tmp_path: Path) -> None:
    found = configuration(url=None, project=None, environment={}, home=tmp_path)

    assert choose_source("auto", found) == SANDBOX


def test_flags_come_before_the_environment(tmp_path: Path) -> None:
    environment = {"EE_PROJECT_ID": "from-env", "EE_URL": "http://env", "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}

    found = configuration(url="http://flag", project=None, environment=environment, home=tmp_path)

    assert (found.url, found.project, found.credentials_file) == ("http://flag", "from-env", Path("key.json"))


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (Configuration(project="p"), "needs credentials: project 'p' is set"),
        (Configuration(signed_in=True), "needs a project: a login of 'earthengine authenticate' found"),
        (Configuration(credentials_file=Path("k.json")), "needs a project: GOOGLE_APPLICATION_CREDENTIALS found"),
        (Configuration(url="http://127.0.0.1:1"), "needs a project"),
    ],
)
@pytest.mark.parametrize("requested", ["auto", "earthengine"])
def test_half_a_configuration_stops_and_names_what_is_missing(
    found: Configuration, missing: str, requested: str
) -> None:
    with pytest.raises(AuthenticationError, match=missing) as caught:
        choose_source(requested, found)

    assert caught.value.exit_code == 4


def test_the_sandbox_can_always_be_asked_for_by_name() -> None:
    assert choose_source("sandbox", Configuration(project="p")) == SANDBOX


def test_another_server_of_the_api_needs_no_google_login() -> None:
    assert choose_source("earthengine", Configuration(url="http://127.0.0.1:9", project="p")) == EARTH_ENGINE


@pytest.mark.parametrize(
    ("url", "declared", "name"),
    [
        ("https://earthengine-highvolume.googleapis.com", None, "earthengine"),
        ("https://earthengine.googleapis.com", "SANDBOX", "earthengine"),
        ("http://127.0.0.1:8080", "SANDBOX", "SANDBOX"),
        ("http://127.0.0.1:8080", None, "UNVERIFIED 127.0.0.1"),
        ("https://googleapis.com.example.org/x", "earthengine", "UNVERIFIED googleapis.com.example.org"),
    ],
)
def test_pixels_are_called_after_who_answered(url: str, declared: str | None, name: str) -> None:
    assert answered_by(url, declared=declared) == name
