"""The command group: how errors are shown, and how a command is stopped."""

from __future__ import annotations

import functools
import io
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from fer_bench.cli.console import command_line, echo, fail, shown_warnings
from fer_bench.cli.streams import replace_unwritable

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120, "auto_envvar_prefix": None}

REPORT = "fer-bench did not expect this error. Please report it with the traceback above and the command:"


class Commands(click.Group):
    """Shows an error that a user can fix as one message, and any other with its traceback.

    Exit codes: 2 for wrong input, 1 for work that failed and for errors of fer-bench itself, 130 for an interrupt.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command. Messages of click itself are made safe for a terminal, too."""
        replace_unwritable()
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            message = io.StringIO()
            error.show(message)
            echo(message.getvalue().rstrip("\n"), err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            echo("aborted", err=True)
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command whose words were understood."""
        try:
            with shown_warnings():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            _end(error, debug=bool(ctx.params.get("debug")))


def _end(error: Exception, debug: bool) -> NoReturn:
    # imported here, because these modules load NumPy and --help must answer at once
    from fer_bench.core.errors import DataError, FerBenchError, PluginError, SpecError

    expected = isinstance(error, (FerBenchError, OSError))
    if debug or not expected:
        echo("".join(traceback.format_exception(error)).rstrip(), err=True)
    if not expected:
        echo(f"{REPORT}\n  {command_line()}", err=True)
        sys.exit(1)
    fail(error, 2 if isinstance(error, (SpecError, DataError, PluginError)) else 1)


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """A command that Ctrl-C and SIGTERM stop in the same way, at any moment: it says how to resume, exit code 130."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            fail(f"stopped; finished epochs are kept. Go on with:\n  {command_line()}", 130)
        finally:
            signal.signal(signal.SIGTERM, before)

    return wrapped


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(package_name="fer-bench", prog_name="fer-bench")
@click.option("--debug", is_flag=True, help="Show the traceback of every error.")
def main(debug: bool) -> None:
    """Compares methods for facial expression recognition under noisy labels and class imbalance.

    \b
    fer-bench run --methods nla,jocor,eac --noise 0.1,0.2,0.3      train, then table and plots
    fer-bench methods                                              what can be compared
    """
