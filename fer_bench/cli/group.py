"""The command group: one clear line for errors that a user can fix, and how a command is stopped."""

from __future__ import annotations

import functools
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from fer_bench.core.text import visible

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120, "auto_envvar_prefix": None}


class Commands(click.Group):
    """Turns the errors that a person can mend into one clear message; exit code 2 for input, 1 for failed runs."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _warn  # type: ignore[assignment]
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            # imported here, because these modules load NumPy and --help must answer at once
            from fer_bench.core.errors import DataError, FerBenchError, PluginError, SpecError

            if isinstance(error, (SpecError, DataError, PluginError)):
                _fail(str(error), 2)
            if isinstance(error, (OSError, FerBenchError)):
                _fail(str(error), 1)
            raise


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """A command that Ctrl-C and SIGTERM stop in the same way, at any moment: it says how to go on, exit code 130."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            _fail(f"stopped; finished epochs are kept. Go on with:\n  {_command()}", 130)
        finally:
            signal.signal(signal.SIGTERM, before)

    return wrapped


def _warn(message: Warning | str, *_: Any) -> None:
    """A warning as one line for a person, without the place in the code that gave it."""
    click.secho("warning: ", fg="yellow", bold=True, err=True, nl=False)
    click.echo(visible(str(message)), err=True)


def _fail(message: str, code: int) -> None:
    click.secho("error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(visible(message), err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(package_name="fer-bench", prog_name="fer-bench")
def main() -> None:
    """Compares methods for facial expression recognition under noisy labels and class imbalance.

    \b
    fer-bench run --methods nla,jocor,eac --noise 0.1,0.2,0.3      train, then table and plots
    fer-bench methods                                              what can be compared
    """


def _console() -> Any:
    from rich.console import Console

    return Console()


def _command() -> str:
    return shlex.join(["fer-bench", *sys.argv[1:]])
