"""The command line: the table of commands, the config file, and how errors end.

A command is imported when it is called, from the folder ``commands``; so ``--help`` and completion answer at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
import warnings
from datetime import date, time
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from .pipeline.errors import DisagreementError, DwplusError, ExitCode, UsageError, in_brief
from .pipeline.files.atomic import read_toml
from .pipeline.machine import is_first_process
from .pipeline.spec.version import __version__

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "auto_envvar_prefix": "DWPLUS"}

COMMANDS: dict[str, tuple[str, str]] = {
    "labels": ("labels:labels", "Download label tiles or add your own, build the manifest, inspect a tile."),
    "pixels": ("pixels:pixels", "Add Sentinel-2 and Sentinel-1 files of your own."),
    "build": ("build:build", "Build the data set: labels, pixels, validation, statistics."),
    "status": ("status:status", "Show build progress: tiles done, failed and remaining."),
    "retry": ("build:retry", "Retry tiles that failed to download."),
    "validate": ("validate:validate", "Check shards and labels, or single files, and list what is wrong."),
    "normalise": ("normalise:normalise", "Compute normalisation statistics of the training split."),
    "models": ("models:models", "List networks that can be trained."),
    "cost": ("models:cost", "Show what networks cost: parameters, GFLOPs, speed, memory."),
    "train": ("train:train", "Train a network on the data set."),
    "score": ("score:score", "Score a trained run on the test tiles."),
    "predict": ("predict:predict", "Map the land cover of an area or an image with a trained run."),
    "runs": ("runs:runs", "Compare runs: scores, time, settings that differ."),
    "compare": ("compare:compare", "Compare scored runs on the same tiles, with intervals and p values."),
    "review": ("review:review", "Find labels that a sure network contradicts, for QGIS."),
    "report": ("report:report", "Write the report: scores beside the paper's."),
    "area": ("area:area", "Estimate areas and accuracies of a map from a sample of interpreted points."),
    "change": ("change:change", "Compare two maps of one run: transitions, and a change map to sample."),
    "reproduce": ("reproduce:reproduce", "Build, train, score and report in one command."),
    "doctor": ("doctor:doctor", "Check that this machine is ready for a build."),
    "auth": ("doctor:auth", "Show how to sign in to Earth Engine from this machine."),
    "local-ee": ("local_ee:local_ee", "Run a local Earth Engine to test your own code on."),
}
"""Command -> where it is (``file:attribute`` in the folder ``commands``), its help in a line; in order of the flow."""


class LazyGroup(click.Group):
    """A group whose commands are imported one by one, when they are called."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Names alone, for click's suggestions ("did you mean build?").
        self.commands = {name: click.Command(name) for name in COMMANDS}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's names
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's names
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's names
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(n, help=line) for n, (_, line) in COMMANDS.items() if n.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def load_command(name: str) -> click.Command:
    """The command of a row of ``COMMANDS``."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    command: click.Command = getattr(importlib.import_module(f".commands.{module}", __package__), attribute)
    return command


@click.group(cls=LazyGroup, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="dwplus")
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file with options: a table per command."
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Build the Dynamic World+ data set (Sentinel-1 + Sentinel-2 on Dynamic World labels), train and score
    SpecSAR-Former on it, and report the numbers beside the paper's.

    \b
    Without a Google account, everything runs on an embedded local Earth Engine (a synthetic planet):
      dwplus reproduce                          build, train, score and report in one command
    With Earth Engine:
      dwplus auth                               how to sign in from this machine
      dwplus doctor                             is everything in place?
      dwplus build --region all --project MY-PROJECT
      dwplus train
      dwplus score runs/specsar-former
      dwplus report

    \b
    Every command can be interrupted; run it again to resume.
    Shell completion for bash (zsh and fish alike): eval "$(_DWPLUS_COMPLETE=bash_source dwplus)"
    Every option can be set as DWPLUS_<COMMAND>_<OPTION> or in a file (--config); flags come first.
    Exit codes: 0 ok, 1 error, 2 usage, 3 finished with failed tiles, 4 authentication,
    5 quota or budget, 130 interrupted.
    """
    # Only our own words: libraries that chat on the root logger are not of interest here.
    handler = logging.StreamHandler(sys.stderr)
    # Processes that train together read the same files, and would warn of them one after the other.
    if not is_first_process():
        handler.setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    # One handler, of the stream as it is now: a program may call commands again and again.
    logging.getLogger(__package__).handlers[:] = [handler]
    if config is not None:
        ctx.default_map = _read_config(config)


def _read_config(path: Path) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for name, table in read_toml(path).items():
        if name not in COMMANDS or not isinstance(table, dict):
            raise UsageError(f"{path}: no command {name!r}; tables are {', '.join(COMMANDS)}")
        result[name] = _config_of(load_command(name), table, f"{path}: [{name}]")
    return result


def _config_of(command: click.Command, table: dict[str, Any], where: str) -> dict[str, Any]:
    """Defaults of a command, or of the commands of a group: ``[local-ee.serve]``."""
    commands = command.commands if isinstance(command, click.Group) else {}
    # Options are called in the file what they are called on the command line.
    options = {p.opts[-1].lstrip("-"): p for p in command.params if isinstance(p, click.Option)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        option = options.get(key.replace("_", "-"))
        if key in commands:
            if not isinstance(value, dict):
                raise UsageError(f"{where}: {key} is a command; its options are a table of their own")
            values[key] = _config_of(commands[key], value, f"{where} {key}")
        elif option is None:
            known = ", ".join(sorted({*options, *commands}))
            raise UsageError(f"{where} has no option {key}; it has {known}")
        else:
            # A single value of an option that may be given several times is a list of one.
            given = value if option.multiple and isinstance(value, list) else [value]
            if not all(map(_is_single, given)):
                wanted = "texts, numbers, true or false" if option.multiple else "a text, a number, true or false"
                raise UsageError(f"{where}: {key} is {in_brief(repr(value))}; {wanted} is wanted")
            values[str(option.name)] = given if option.multiple else value
    return values


def _is_single(value: Any) -> bool:
    """Whether a value of TOML is one that could be written on a command line."""
    if isinstance(value, int | float):
        return abs(value) < 2**63
    return isinstance(value, str | date | time)


def main() -> None:
    """Entry point: our errors become one line and their own exit code; anything else keeps its traceback."""
    # Threads of torch that wait should sleep, not spin: beside other work, steps are several times faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What a batch system sends before its time is up ends a command as Ctrl-C does: cleanly.
    for name in ("SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):  # Windows has no SIGUSR1
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        cli.main(prog_name="dwplus", standalone_mode=False)
    except DwplusError as error:
        if is_first_process() or not isinstance(error, DisagreementError):
            click.echo(f"dwplus: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except MemoryError as error:
        advice = "pass a smaller --workers or a smaller batch, or ask for more memory; then run the same command again"
        click.echo(f"dwplus: memory has run out ({str(error) or 'no more is given'}); {advice}", err=True)
        sys.exit(ExitCode.ERROR)
    except (KeyboardInterrupt, click.Abort):
        click.echo("dwplus: interrupted; run the same command again to resume", err=True)
        _leave_threads()
        sys.exit(ExitCode.INTERRUPTED)


def _leave_threads() -> None:
    """End now where threads still wait for an answer of a server: Python would wait for them, up to their deadline.

    Files are complete or absent whatever is left undone.
    """
    if any(thread.name.startswith("tile") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
