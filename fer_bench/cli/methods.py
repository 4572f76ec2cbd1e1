"""Commands about methods: methods, new-method, test-method."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fer_bench.cli.group import _console, main
from fer_bench.cli.options import PLUGINS


@main.command()
@click.argument("key", required=False)
@PLUGINS
def methods(key: str | None, plugins: tuple[str, ...]) -> None:
    """Lists the methods, or shows one as a card: citation, idea, hyper-parameters with sources, deviations."""
    from fer_bench.cli.views import cards
    from fer_bench.core.errors import SpecError, nearest
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.reproduce.published import shipped

    found = discover(plugin_folders(plugins))
    if key is None:
        _console().print(cards.method_list(found))
    elif key in found:
        _console().print(cards.method_card(found[key], shipped()))
    else:
        raise SpecError(f"unknown method {key!r}{nearest(key, found)}")


@main.command()
@click.argument("key")
@click.option("--template", type=click.Choice(["loss", "two-networks"]), default="loss", show_default=True,
              help="One network with a loss of its own, or two with memory of each sample.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=".", show_default=True)
def new_method(key: str, template: str, folder: Path) -> None:
    """Writes a method KEY that runs at once, its presets and its test; the places to change are marked."""
    from fer_bench.plugins import scaffold

    for path in scaffold.new_method(key, template, folder):
        click.echo(f"wrote {path}")
    click.echo(f"the places to change are marked CHANGE\n{scaffold.next_commands(key, folder)}")


@main.command()
@click.argument("file_or_key")
@PLUGINS
def test_method(file_or_key: str, plugins: tuple[str, ...]) -> None:
    """Checks a method against the contract: trains it for moments on a small drawn problem. Exit code 1 if it fails."""
    import time

    from fer_bench.testing.run import examine, find_plugin

    console, begin, results = _console(), time.monotonic(), []
    plugin = find_plugin(file_or_key, plugins)
    console.print(f"{plugin.key}  {plugin.path}", markup=False, highlight=False, soft_wrap=True)
    with console.status("") as status:
        for name, proves, wrong in examine(plugin):
            if wrong == "":
                status.update(f"{name}: {proves} …")
                continue
            results.append(wrong)
            style, word = ("red", "FAIL") if wrong else ("green", "pass")
            console.print(f"[{style}]{word}[/]  [bold]{name}[/]: {proves}", highlight=False, soft_wrap=True)
            for line in (wrong or "").splitlines():
                console.print(f"      {line}", style=style, markup=False, highlight=False, soft_wrap=True)
    failed = sum(wrong is not None for wrong in results)
    verdict = f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} checks passed"
    console.print(f"{verdict} in {time.monotonic() - begin:.0f} s", style="red" if failed else "green", highlight=False)
    if failed:
        sys.exit(1)
