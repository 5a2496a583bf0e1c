"""Transfer: what a training takes over from weights that were trained before, and what it begins anew.

Weights are matched by name. Which of them read bands and which give classes, and along which axis, is found out by
making the network with one band or one class more: no network has to say so. Along such an axis weights are matched by
the name of the band or class; a class of a user's table that maps to a class of Dynamic World may begin as that one.
Where bands are taken over, their mean and deviation are too: the weights were trained on values normalised so.

Comes before ``train.py``, which applies it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..pipeline.errors import DataError, UsageError
from ..pipeline.spec.bands import BANDS
from ..pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from ..pipeline.spec.overlaps import block_of
from ..pipeline.spec.radar import radar_differences
from ..pipeline.spec.tiles import Tile, locate
from ..pipeline.spec.words import count_of
from .missing import for_missing_inputs
from .registry import NetworkConfig, spec
from .run_config import DataCard, Initial, RunConfig
from .runs import KEPT_BY, TILES, WEIGHTS, RunFolder, check_numbers

Place = tuple[str, float, float]
"""A tile: id, longitude and latitude of its centre in degrees."""

_AFTER_THE_ENCODER = ("decoder", "head", "aux_head", "segmentation_head", "classify", "neck", "pyramid", "skip")
_ENCODERS = ("encoder", "backbone")


# --- what was trained before ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pretrained:
    """Weights that were trained before.

    Attributes:
        given: the run or file, as it was named.
        sha256: of the file of weights.
        weights: by name.
        run: settings and data of the run that they are of; None for a file that belongs to no run.
        tiles: that they were trained on, and that those were begun with; None where it is not recorded.
    """

    given: str
    sha256: str
    weights: Mapping[str, Tensor]
    run: RunConfig | None = None
    tiles: tuple[Place, ...] | None = None


def read_pretrained(given: str) -> Pretrained:
    """Weights of a run (its folder, or a file in it) or of a file of weights by name (safetensors, ``.pt``).

    Raises:
        UsageError: there is no such run or file.
        DataError: the run is not complete, or the weights cannot be read or are no numbers.
    """
    path = Path(given)
    if path.is_dir():
        path = path / WEIGHTS
    elif not path.is_file():
        raise UsageError(f"--init {given}: there is no such run or file; name the folder of a run or a file of weights")
    folder = RunFolder(path.parent)
    if folder.started and path.name in (WEIGHTS, *KEPT_BY):
        run = folder.read_usable_config()
        weights = folder.read_weights(path.name)
        found = Pretrained(given, _sha256(path), weights, run, tiles_learnt(folder))
    else:
        found = Pretrained(given, _sha256(path), _read_file(path))
    check_numbers(found.weights, where=given)
    return found


def tiles_learnt(folder: RunFolder) -> tuple[Place, ...] | None:
    """Tiles that a run was trained on, or begun with weights of; None for a run of an earlier version.

    Raises:
        DataError: its list of tiles is damaged.
    """
    if not (folder.path / TILES).is_file():
        return None
    document = folder.read_json(TILES)
    try:
        listed = [*document["trained_on"], *document["pretrained_on"]]
        return tuple((str(tile_id), float(lon), float(lat)) for tile_id, lon, lat in listed)
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{folder.path / TILES} is no list of tiles; bring it back from a copy, or remove it") from None


def _read_file(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # both raise whatever their parts raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as weights ({reason}); name a run or a .safetensors file") from None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} holds no weights by name; save network.state_dict() and name that file")
    return dict(state)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- which axis is bands, which is classes ----------------------------------------------------------------------------

Shapes = dict[str, tuple[int, ...]]
_COUNTS = ("primary_bands", "auxiliary_bands", "classes")


def _shapes(model: str, settings: NetworkConfig, tokens: bool, by_state: bool) -> Shapes:
    network = spec(model).network
    try:
        with torch.device("meta"):
            made = network(settings)
    except (RuntimeError, NotImplementedError):  # some encoders compute while they are made
        made = network(settings)
    if tokens:
        made = for_missing_inputs(made, settings.primary_bands, settings.auxiliary_bands, by_state=by_state)
    return {name: tuple(values.shape) for name, values in made.state_dict().items()}


def counted_axes(
    model: str, settings: NetworkConfig, *, tokens: bool = False, by_state: bool = False
) -> tuple[Shapes, dict[str, dict[int, tuple[str, ...]]]]:
    """Shapes of a network's weights, and which of their axes grow with bands or classes.

    Args:
        tokens, by_state: the network has those weights of ``missing`` too (``RunConfig``).

    Returns:
        shapes by name; name -> axis -> settings (``primary_bands``, ``auxiliary_bands``, ``classes``) that it counts.
    """
    base = _shapes(model, settings, tokens, by_state)
    axes: dict[str, dict[int, tuple[str, ...]]] = {}
    for count in _COUNTS:
        try:
            more: Any = replace(settings, **{count: getattr(settings, count) + 1})  # type: ignore[type-var]  # settings are a dataclass
            grown = _shapes(model, more, tokens, by_state)
        except Exception:  # a network that cannot have one more is matched by whole shapes
            continue
        for name, shape in base.items():
            other = grown.get(name, shape)
            longer = [i for i, (a, b) in enumerate(zip(shape, other, strict=False)) if a != b]
            if len(other) == len(shape) and len(longer) == 1 and other[longer[0]] == shape[longer[0]] + 1:
                of_name = axes.setdefault(name, {})
                of_name[longer[0]] = (*of_name.get(longer[0], ()), count)
    return base, axes


def _labels(counts: tuple[str, ...], data: DataCard) -> tuple[str, ...]:
    """Names along an axis: bands of one or both inputs, or classes."""
    if counts == ("classes",):
        return data.classes.names
    return (*(data.primary * ("primary_bands" in counts)), *(data.auxiliary * ("auxiliary_bands" in counts)))


LEAST_SHARE = 0.1
"""Share of a network's weights that has to fit: counters and norms of another network fit by chance."""


# --- the plan ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """Which weights of a network begin as which of those trained before.

    Attributes:
        whole: names of weights that are taken as they are.
        parts: name -> (axis, [(place here, place there), ...]) of weights that are taken in part.
        anew: names of weights of which nothing is taken.
        classes: names of classes that begin as those of the same name.
        mapped: (class here, class there) of those that begin as the class of Dynamic World that they map to.
        bands: names of bands that are read as before.
    """

    whole: tuple[str, ...]
    parts: Mapping[str, tuple[int, tuple[tuple[int, int], ...]]]
    anew: tuple[str, ...]
    classes: tuple[str, ...] = ()
    mapped: tuple[tuple[str, str], ...] = ()
    bands: tuple[str, ...] = ()

    def apply(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Put the weights into a network of fresh ones."""
        state = network.state_dict()
        with torch.no_grad():
            for name in self.whole:
                state[name].copy_(weights[name])
            for name, (axis, pairs) in self.parts.items():
                here, there = state[name].movedim(axis, 0), weights[name].movedim(axis, 0)
                for mine, theirs in pairs:
                    here[mine] = there[theirs].to(here)


def plan(
    model: str,
    settings: NetworkConfig,
    data: DataCard,
    before: Pretrained,
    *,
    tokens: bool = False,
    by_state: bool = False,
) -> Plan:
    """Match the weights of a network with those trained before.

    Args:
        model, settings, data: the network that is to be trained, and on what.
        tokens, by_state: it has those weights of ``missing`` (``RunConfig``).

    Raises:
        UsageError: nothing fits.
    """
    shapes, axes = counted_axes(model, settings, tokens=tokens, by_state=by_state)
    whole: list[str] = []
    anew: list[str] = []
    parts: dict[str, tuple[int, tuple[tuple[int, int], ...]]] = {}
    for name, shape in shapes.items():
        old = before.weights.get(name)
        of_name = axes.get(name, {})
        if old is None or old.ndim != len(shape):
            anew.append(name)
        elif len(of_name) == 1:
            (axis, counts), *_ = of_name.items()
            pairs = _pairs(counts, axis, shape, tuple(old.shape), data, before.run)
            if pairs == tuple((i, i) for i in range(shape[axis])) and tuple(old.shape) == shape:
                whole.append(name)
            elif pairs:
                parts[name] = (axis, pairs)
            else:
                anew.append(name)
        else:
            (whole if tuple(old.shape) == shape else anew).append(name)
    if len(whole) + len(parts) < LEAST_SHARE * len(shapes):
        raise UsageError(
            f"--init {before.given}: {len(whole) + len(parts)} of the {count_of(len(shapes), 'weight')} of {model} are "
            "in it with the same name and shape; name a run of the same network and widths"
        )
    taken = {*whole, *parts}
    classes, mapped, bands = _taken_names(axes, taken, data, before.run)
    return Plan(tuple(whole), parts, tuple(anew), classes, mapped, bands)


def _pairs(
    counts: tuple[str, ...],
    axis: int,
    shape: tuple[int, ...],
    old: tuple[int, ...],
    data: DataCard,
    run: RunConfig | None,
) -> tuple[tuple[int, int], ...]:
    """(place here, place there) along the axis of one weight."""
    others_differ = shape[:axis] + shape[axis + 1 :] != old[:axis] + old[axis + 1 :]
    mine = _labels(counts, data)
    if others_differ or len(mine) != shape[axis]:
        return ()
    if run is None:
        # A file does not say which bands and classes it is of: as many bands are taken for the same, classes never.
        same = counts != ("classes",) and shape == old
        return tuple((i, i) for i in range(shape[axis])) if same else ()
    theirs = _labels(counts, run.data)
    if len(theirs) != old[axis]:
        return ()
    if counts == ("classes",):
        chosen = [_class_there(name, data.classes, run.data.classes) for name in mine]
    else:
        chosen = [name if name in theirs else None for name in mine]
    return tuple((i, theirs.index(name)) for i, name in enumerate(chosen) if name is not None)


def _class_there(name: str, here: ClassTable, there: ClassTable) -> str | None:
    """The class that one begins as: of the same name, else the one of Dynamic World that it maps to."""
    if name in there.names:
        return name
    mapped = here.classes[here.names.index(name)].dynamic_world
    return mapped if mapped and there.hash == DYNAMIC_WORLD.hash else None


def _taken_names(
    axes: Mapping[str, Mapping[int, tuple[str, ...]]], taken: set[str], data: DataCard, run: RunConfig | None
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Classes of the same name, classes by their mapping, and bands, of the weights that are taken."""
    if run is None:
        return (), (), ()
    counted = {count for name in taken for counts in axes.get(name, {}).values() for count in counts}
    theirs = (*run.data.primary, *run.data.auxiliary)
    mine = (
        *(data.primary if "primary_bands" in counted else ()),
        *(data.auxiliary if "auxiliary_bands" in counted else ()),
    )
    bands = tuple(band for band in mine if band in theirs)
    if "classes" not in counted:
        return (), (), bands
    pairs = [(name, _class_there(name, data.classes, run.data.classes)) for name in data.classes.names]
    same = tuple(name for name, there in pairs if name == there)
    return same, tuple((name, there) for name, there in pairs if there and name != there), bands


# --- what is recorded -------------------------------------------------------------------------------------------------


def check_same_pixels(data: DataCard, made: Plan, before: Pretrained, *, accept_s1: bool = False) -> tuple[str, ...]:
    """Refuse a planet or a Sentinel-1 that the weights were not trained on; what is accepted, one line each.

    Nothing of Sentinel-1 differs where no band of it is taken over, or where it is not recorded how that of the weights
    was made (files, runs of earlier versions).

    Raises:
        UsageError: it was made in another way, without ``accept_s1``; the two show different synthetic planets; or
            Sentinel-2 was scaled in another way, which nobody can want.
    """
    optical = any(BANDS[band].sensor == "S2" for band in made.bands)
    if before.run is not None and optical and before.run.data.s2_level != data.s2_level:
        raise UsageError(
            f"--init {before.given}: its weights read Sentinel-2 {before.run.data.s2_level}, shards hold "
            f"{data.s2_level}; begin with weights that were trained on shards"
        )
    if before.run is not None and optical and before.run.data.input_scaling != data.input_scaling:
        theirs = before.run.data.input_scaling
        raise UsageError(
            f"--init {before.given}: its weights were trained with input_scaling={theirs}; train with --set "
            f"input_scaling={theirs}"
        )
    if before.run is not None and (difference := before.run.data.planet_difference(data.planet)):
        raise UsageError(
            f"--init {before.given}: its weights were trained on another planet: the data set shows {difference}; "
            "train them again on a data set of this version"
        )
    kind = "" if before.run is None or not optical else before.run.data.composite_difference(data.composite)
    # Learning another kind of Sentinel-2 is what such a training is for: it is recorded.
    accepted = [f"s2: {kind}"] if kind else []
    if before.run is None or not any(BANDS[band].sensor == "S1" for band in made.bands):
        return tuple(accepted)
    differences = radar_differences(before.run.data.radars, data.radars)
    if differences and not accept_s1:
        raise UsageError(
            f"--init {before.given}: its weights were trained on another Sentinel-1: the data set has "
            f"{differences[0]}; name a run that was trained on one made like it, or accept the difference (--accept s1)"
        )
    return (*accepted, *(f"s1: {one}" for one in differences))


def begun(
    run: RunConfig, made: Plan, before: Pretrained, shared: Sequence[str], accepted: Sequence[str] = ()
) -> RunConfig:
    """The settings of a run that begins with weights trained before: what was taken, and the statistics of its bands.

    Args:
        shared: tiles that the weights were trained on and that share a block with val or test tiles.
        accepted: what of the data differs from what the weights were trained on, and was accepted.
    """
    initial = Initial(
        given=before.given,
        sha256=before.sha256,
        model="" if before.run is None else before.run.model,
        taken=len(made.whole),
        partly=tuple(made.parts),
        anew=made.anew,
        classes=made.classes,
        mapped=made.mapped,
        bands=made.bands,
        tiles_known=before.tiles is not None,
        shared_blocks=tuple(shared),
        accepted=tuple(accepted),
    )
    statistics = dict(run.data.statistics)
    if before.run is not None:
        statistics |= {band: before.run.data.statistics[band] for band in made.bands}
    return replace(run, data=replace(run.data, statistics=statistics), initial=initial)


def places_of(tiles: Sequence[Tile]) -> tuple[Place, ...]:
    locate(tiles)
    return tuple((tile.id, *tile.centre) for tile in tiles)


BlockAt = Callable[[float, float], tuple[int, int]]
"""The geographic block of a place, by its longitude and latitude in degrees."""


def sharing_blocks(places: Iterable[Place], held_out: Sequence[Tile], block_at: BlockAt = block_of) -> tuple[str, ...]:
    """Ids of the tiles, sorted, that lie in a geographic block of one of the tiles that are held out."""
    locate(held_out)
    blocks = {block_at(*tile.centre) for tile in held_out}
    return tuple(sorted({tile_id for tile_id, lon, lat in places if block_at(lon, lat) in blocks}))


def initial_as_text(initial: Initial, given: str) -> list[str]:
    """What is taken and what is begun anew, a line each."""
    lines = [f"begins with {count_of(initial.taken, 'weight')} of {given}"]
    if initial.partly:
        named = [f"bands {', '.join(initial.bands)}" if initial.bands else ""]
        named += [f"classes {', '.join(initial.classes)}" if initial.classes else ""]
        named += [f"{here} as {there}" for here, there in initial.mapped]
        lines += [f"taken by name: {'; '.join(filter(None, named))}", f"taken in part: {_listed(initial.partly)}"]
    if initial.anew:
        lines.append(f"begun anew: {_listed(initial.anew)}")
    lines += [f"accepted: {one}" for one in initial.accepted]
    if not initial.tiles_known:
        lines.append(
            f"which tiles {given} was trained on is not recorded: whether they share a block with val or test tiles is "
            "not known"
        )
    elif initial.shared_blocks:
        count = count_of(len(initial.shared_blocks), "tile")
        lines.append(
            f"{count} that {given} was trained on share a block with val or test tiles "
            f"({_listed(initial.shared_blocks)}): scores there are too good"
        )
    return lines


_LISTED = 6


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all, see config.json)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


# --- the encoder ------------------------------------------------------------------------------------------------------


def encoder_names(network: nn.Module, model: str) -> frozenset[str]:
    """Names of the parameters of a network's encoder: what lies before its decoder and heads.

    Raises:
        UsageError: the network does not say which part that is.
    """
    parameters = [name for name, _ in network.named_parameters()]
    parts = {name: name.removeprefix("network.").partition(".")[0] for name in parameters}
    if any(part in _AFTER_THE_ENCODER for part in parts.values()):
        chosen = {name for name, part in parts.items() if part not in _AFTER_THE_ENCODER}
    else:
        chosen = {name for name, part in parts.items() if part in _ENCODERS}
    if not chosen:
        raise UsageError(
            f"{model} has no part called {' or '.join(_ENCODERS)}, and none called {', '.join(_AFTER_THE_ENCODER)}: "
            "which weights are its encoder is not known; train without freeze and lr_encoder"
        )
    return frozenset(chosen)


def freeze(network: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """Stop the training of parameters; gives the modules whose own parameters are all frozen, for evaluation mode.

    A norm in evaluation mode keeps its statistics, and nothing is dropped out of what is frozen.
    """
    frozen = set(names)
    for name, parameter in network.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    resting = []
    for module in network.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            resting.append(module)
    return resting


def parameter_groups(network: nn.Module, encoder: frozenset[str], factor: float, *, decay_all: bool = True) -> Any:
    """What AdamW gets: all trained parameters, or groups where some have a rate or a decay of their own.

    Args:
        encoder: names of the encoder's parameters.
        factor: on the learning rate of the encoder.
        decay_all: False: parameters of one axis (norms, biases) have no weight decay.
    """
    trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    if factor == 1.0 and decay_all:
        return [parameter for _, parameter in trained]
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in trained:
        slow, still = factor != 1.0 and name in encoder, not decay_all and parameter.ndim <= 1
        fresh = {"params": [], "factor": factor if slow else 1.0, **({"weight_decay": 0.0} if still else {})}
        groups.setdefault((slow, still), fresh)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]
