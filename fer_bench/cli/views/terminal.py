"""A console of rich that lets only text through."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fer_bench.cli.streams import discard_output
from fer_bench.core.text import visible

SIZES = ("COLUMNS", "LINES")
"""Environment variables that set the size of a terminal."""


class PlainConsole(Console):
    """Prints strings as they are, without markup, and writes out control characters in whatever it renders.

    Rich's own control codes, such as those of a progress bar, are segments of their own kind and pass.
    """

    def __init__(self, **options: Any) -> None:
        plain = {"markup": False, "emoji": False, "highlight": False}
        # without a size of 0, in which nothing would be shown
        environment = {name: value for name, value in os.environ.items() if name not in SIZES or value.strip("0")}
        super().__init__(**{**plain, "_environ": environment, **options})

    def on_broken_pipe(self) -> None:
        """Goes on without output, where rich would end the command."""
        self.quiet = True
        discard_output()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of anything that can be printed, with control characters written out."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
