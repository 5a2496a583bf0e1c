"""Domains: every number among the settings has one, and what is outside is refused by name before anything is read."""

from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from dwplus.model.config import from_mapping
from dwplus.model.domains import DOMAINS, Domain
from dwplus.model.registry import MODELS, build, configure
from dwplus.model.settings import TrainConfig
from dwplus.pipeline.errors import UsageError


def is_number(hint: Any) -> bool:
    return any(word in str(hint) for word in ("int", "float")) and "Literal" not in str(hint)


@pytest.mark.parametrize(
    "settings",
    [TrainConfig, *sorted({type(row.defaults) for row in MODELS.values()}, key=str)],
    ids=lambda c: c.__name__,
)
def test_every_setting_that_is_a_number_has_a_domain(settings: type) -> None:
    numbers = {field.name for field in fields(settings) if is_number(get_type_hints(settings)[field.name])}

    assert numbers <= set(DOMAINS)


def test_the_settings_of_every_network_are_inside_their_domains() -> None:
    for row in MODELS.values():
        for field in fields(row.defaults):
            value = getattr(row.defaults, field.name)
            assert field.name not in DOMAINS or DOMAINS[field.name].holds(value), (field.name, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", float("nan")), ("lr", 0.0), ("lr", -1e-3), ("lr", float("inf")), ("seed", -1), ("workers", -1),
     ("weight_decay", -1.0), ("gamma", -1.0), ("crop_px", 0), ("aux_weight", -1.0), ("epochs", 0), ("batch", -4),
     ("keep_mb", -1), ("warmup_epochs", -1)],
)  # fmt: skip
def test_a_training_setting_outside_its_domain_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"{key} is .*; it must be "):
        TrainConfig.from_dict({key: value})
    with pytest.raises(UsageError, match=rf"{key} is .*; it must be "):
        TrainConfig(**{key: value})


@pytest.mark.parametrize("key", ["primary_bands", "auxiliary_bands", "name"])
def test_what_follows_from_the_data_is_no_option_of_a_network(key: str) -> None:
    with pytest.raises(UsageError, match=f"model_options: {key} cannot be set; bands are chosen with --primary"):
        TrainConfig(model_options={key: 3})


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [("specsar-former-small", "dropout", 2.0), ("specsar-former-small", "classes", 12), ("segformer", "classes", 8),
     ("specsar-former-small", "split", [0, 0]), ("cmx-small", "drop_path", -0.1),
     ("segformer-small", "heads", [0, 1, 1, 1]), ("vit-adapter-small", "depth", 0),
     ("deeplabv3plus-small", "stem_widths", [0, 8]), ("segformer", "dropout", float("nan"))],
)  # fmt: skip
def test_a_setting_of_a_network_outside_its_domain_is_refused_by_name(model: str, key: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"{key} is .*; it must be "):
        configure(model, 10, 2, **{key: value})


def test_settings_that_do_not_fit_each_other_are_one_error() -> None:
    with pytest.raises(UsageError):
        build("segformer-small", 10, 2, widths=[7, 7, 7, 7], heads=[1, 2, 3, 5])


def test_the_bounds_are_said() -> None:
    assert str(Domain(0, 1, below=True, why="it is a share")) == "0 or more, below 1; it is a share"
    assert str(Domain(0, above=True)) == "above 0"
    assert str(Domain(9, 9)) == "9"
    with pytest.raises(UsageError, match="training settings: seed is -1; it must be a whole number, 0 or more"):
        from_mapping(TrainConfig, {"seed": -1}, where="training settings")
