"""Commands about methods: methods, new-method, test-method."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from fer_bench.cli.console import console, echo, status
from fer_bench.cli.group import main
from fer_bench.cli.options import PLUGINS


@main.command()
@click.argument("key", required=False)
@PLUGINS
def methods(key: str | None, plugins: tuple[str, ...]) -> None:
    """Lists the methods, or shows one as a card: citation, idea, hyper-parameters with sources, deviations."""
    from fer_bench.cli.views import cards
    from fer_bench.core.errors import require
    from fer_bench.plugins.registry import discover, plugin_folders, unknown_method
    from fer_bench.reproduce.published import shipped

    found = discover(plugin_folders(plugins))
    if key is None:
        console().print(cards.method_list(found))
        return
    require(key in found, unknown_method(key, found))
    console().print(cards.method_card(found[key], shipped()))


@main.command()
@click.argument("key")
@click.option("--template", type=click.Choice(["loss", "two-networks"]), default="loss", show_default=True,
              help="One network with its own loss, or two networks with memory of each sample.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=".", show_default=True)
def new_method(key: str, template: str, folder: Path) -> None:
    """Writes a method KEY that runs at once, with its presets and its test; the places to change are marked."""
    from fer_bench.plugins import scaffold

    for path in scaffold.new_method(key, template, folder):
        echo(f"wrote {path}")
    echo(f"the places to change are marked CHANGE\n{scaffold.next_commands(key, folder)}")


@main.command()
@click.argument("file_or_key")
@PLUGINS
def test_method(file_or_key: str, plugins: tuple[str, ...]) -> None:
    """Checks a method against the contract on a small drawn data set. Exit code 1 if a check fails."""
    from fer_bench.cli.views.checks import check_line, verdict
    from fer_bench.testing.run import find_plugin, run_checks

    begin, results = time.monotonic(), list[str | None]()
    plugin = find_plugin(file_or_key, plugins)
    screen = console()
    echo(f"{plugin.key}  {plugin.path}")
    with status("") as update:
        for name, proves, wrong in run_checks(plugin, lambda name, proves: update(f"{name}: {proves}")):
            results.append(wrong)
            screen.print(check_line(name, proves, wrong), soft_wrap=True)
    failed = sum(wrong is not None for wrong in results)
    screen.print(verdict(failed, len(results), time.monotonic() - begin))
    if failed:
        sys.exit(1)
