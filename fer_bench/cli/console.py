r"""Everything that a command prints goes through this module.

Only text, newlines and tabs reach the terminal. Control characters in names of files, in logs and in messages of
exceptions are written out as ``\x1b``. Text from data is never read as markup. Characters that the encoding of the
terminal does not have become question marks.
"""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fer_bench.cli.streams import discard_output
from fer_bench.core.text import visible

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """The console of standard output, for tables and styled text."""
    from fer_bench.cli.views.terminal import PlainConsole

    return PlainConsole()


def echo(text: object, *, err: bool = False) -> None:
    """Prints lines as they are: never wrapped, never styled."""
    _write(visible(str(text)), err)


def _write(text: str, err: bool, **style: Any) -> None:
    try:
        click.secho(text, err=err, **style)
    except BrokenPipeError:
        discard_output(err)


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """Shows a line with a spinner during the work inside ``with``; gives a function that changes the text."""
    from rich.text import Text

    with console().status(Text(visible(text))) as shown:
        yield lambda changed: shown.update(Text(visible(changed)))


def warn(message: object) -> None:
    """One line on standard error."""
    _write("warning: ", err=True, fg="yellow", bold=True, nl=False)
    echo(message, err=True)


def fail(message: object, code: int) -> NoReturn:
    """One message on standard error, and the end of the command."""
    _write("error: ", err=True, fg="red", bold=True, nl=False)
    echo(message, err=True)
    sys.exit(code)


def command_line() -> str:
    """The command that was called, quoted for a shell."""
    return shlex.join(["fer-bench", *sys.argv[1:]])


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Shows warnings of Python and of the library's loggers as one line each, without the place in the code."""
    handler = _Handler(logging.WARNING)
    logger = logging.getLogger("fer_bench")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: warn(message)
            yield
    finally:
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


def quoted(*words: Any) -> str:
    """A command to copy: every word is quoted for a shell."""
    return shlex.join(map(str, words))
