"""Commands that read finished runs: table, diff, plot, report, clean, pack, unpack."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from fer_bench.cli.group import _console, _fail, main
from fer_bench.cli.options import OUT, PLUGINS, Names


@main.command()
@click.argument("sweep", required=False)
@OUT
@click.option("--format", "style", type=click.Choice(["terminal", "markdown", "csv", "latex", "html"]),
              default="terminal", show_default=True)  # fmt: skip
@click.option("--select", "--protocol", "selections", type=Names(), default="last", show_default=True,
              help="Which epoch is reported: last, mean_last_5, best_val, best_test (an oracle).")  # fmt: skip
@click.option("--metrics", type=Names(), default="overall,mean,gap,memorised", show_default=True,
              help="Also macro_f1, worst, head, tail, ece, nll, detection_auroc, detection_ap, …; or all.")  # fmt: skip
@click.option(
    "--baseline", default="", metavar="METHOD", help="Test every method against this one [default: the best]."
)
@click.option("--test", default="sign-flip", show_default=True, help="Paired test: sign-flip or wilcoxon.")
@click.option("--unit", default="seed", show_default=True,
              help="What one pair is: a training seed, or a draw of the data (its seeds averaged).")  # fmt: skip
@click.option("--spread", default="sd", show_default=True, help="Behind a mean: sd, or interval (95 %).")
@click.option("--interval", default="t", show_default=True, help="Kind of 95 % interval: t or bootstrap.")
def table(sweep: str | None, out: Path, style: str, **options: Any) -> None:
    """Prints the comparison table of SWEEP (or the newest one) and writes its files again; trains nothing."""
    from fer_bench.cli.views.table import TableView
    from fer_bench.report import tables
    from fer_bench.report.measures import View
    from fer_bench.sweep.record import find_sweep

    view = View(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})  # type: ignore[arg-type]
    found = find_sweep(out, sweep)
    runs = found.finished()
    if runs.empty:
        _nothing_finished(found)
    content = tables.comparison(runs, notes=found.unfinished(), classes=found.classes, view=view)
    if style == "terminal":
        _console().print(TableView(content))
    else:
        click.echo(getattr(content, style)())
    tables.save(content, runs, found.folder)  # last, so that a folder that is full or read-only still shows its table


def _nothing_finished(sweep: Any) -> None:
    text = f"no run of {sweep.name} is finished yet; see `fer-bench status {sweep.name}`"
    if (sweep.folder / "runs.csv").exists():
        text = f"the runs of {sweep.name} are not here, only what was made of them: {sweep.folder}; its command, "
        text += f"`{sweep.content['command']}`, trains them again"
    _fail(text, 1)


@main.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@OUT
def diff(first: str, second: str, out: Path) -> None:
    """Shows every setting, epoch and result in which two runs differ. RUN: a folder, a key, or how a key begins.

    Exit code 0 if both measured the same, 1 if not.
    """
    from fer_bench.cli.views.difference import difference_report
    from fer_bench.store.diff import difference, find_run

    found = difference(find_run(out, first), find_run(out, second))
    _console().print(difference_report(found))
    if not found.identical:
        sys.exit(1)


@main.command()
@click.argument("sweep", required=False)
@OUT
def plot(sweep: str | None, out: Path) -> None:
    """Draws the plots of SWEEP (or the newest one) again; trains nothing."""
    from fer_bench.report import outputs
    from fer_bench.sweep.record import find_sweep

    written = [path for path in outputs.write_outputs(find_sweep(out, sweep)) if path.suffix in (".png", ".pdf")]
    if not written:
        _fail("no finished run to plot", 1)
    for path in written:
        click.echo(path)


@main.command()
@click.argument("sweep", required=False)
@OUT
@PLUGINS
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="The file to write [default: report.html in the sweep's folder].")  # fmt: skip
@click.option("--faces", type=click.Choice(["own", "all", "none"]), default="own", show_default=True,
              help="Training faces in it: of drawn sets and your own, of licensed sets too, or of none.")  # fmt: skip
def report(sweep: str | None, out: Path, plugins: tuple[str, ...], to: Path | None, faces: Any) -> None:
    """Writes one HTML page of SWEEP (or the newest one): tables, plots, faces, settings. It opens without a network."""
    from fer_bench.plugins.registry import plugin_folders
    from fer_bench.report import html as page
    from fer_bench.sweep.record import find_sweep

    found = find_sweep(out, sweep)
    if found.finished().empty:
        _nothing_finished(found)
    path = page.write(found, to or found.folder / "report.html", plugin_folders(plugins), faces)
    click.echo(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")


@main.command()
@OUT
@PLUGINS
@click.option("--outdated", is_flag=True, help="Also finished runs of a method whose code is another by now.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and leave it.")
@click.option("--yes", is_flag=True, help="Remove it without asking; for scripts.")
def clean(out: Path, plugins: tuple[str, ...], outdated: bool, dry_run: bool, yes: bool) -> None:
    """Removes failed, interrupted and outdated runs and left-over files, after showing them. Never one that is running,
    and no finished run without --outdated."""
    from fer_bench.cli.views import leftovers
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.sweep import clean as cleaning

    console = _console()
    found = cleaning.find(out, discover(plugin_folders(plugins)), outdated)
    console.print(leftovers.listing(found))
    if not found or dry_run:
        return
    if not yes and not click.confirm("remove them?"):
        console.print("nothing was removed")
        return
    with console.status("removing; what a lost machine has left is watched for a minute before …"):
        removed, kept = cleaning.remove(found, out)
    console.print(f"{removed} removed" + (f"; {kept} are being trained by now and stay" if kept else ""))


@main.command()
@click.argument("sweep")
@OUT
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FILE.tar.gz",
              help="The archive to write [default: SWEEP.tar.gz].")  # fmt: skip
@click.option("--networks", is_flag=True, help="Also trained networks that were kept for other runs.")
def pack(sweep: str, out: Path, to: Path | None, networks: bool) -> None:
    """Writes one archive of SWEEP: settings, records and environment of its finished runs, and its tables."""
    from fer_bench.sweep import archive
    from fer_bench.sweep.record import find_sweep

    found = find_sweep(out, sweep)
    packed = archive.pack(found, to or Path(f"{found.name}.tar.gz"), networks)
    left = f"; {packed.left_out} runs are not finished and left out" if packed.left_out else ""
    size = packed.path.stat().st_size / 1e6
    click.echo(f"{packed.path}: {packed.runs} runs, {size:.1f} MB{left}\nsha256 {packed.sha256}")


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@OUT
@click.option("--sha256", default="", metavar="HEX", help="Refuse any other file than the one of this hash.")
@click.option("--name", default="", help="Another name for the sweep.")
def unpack(archive: Path, out: Path, sha256: str, name: str) -> None:
    """Merges an ARCHIVE of `fer-bench pack` into the results, whole or not at all.

    Refused are archives that are damaged or tampered with, and runs that contradict those that are there.
    """
    from fer_bench.report import outputs
    from fer_bench.sweep.archive import unpack as merge
    from fer_bench.sweep.record import find_sweep

    with _console().status(f"checking {archive} …"):
        merged = merge(archive, out, sha256, name)
        outputs.write_outputs(find_sweep(out, merged.sweep))
    missing = f", {merged.missing} not in the archive" if merged.missing else ""
    click.echo(f"sweep {merged.sweep}: {merged.added} runs added, {merged.known} were there before{missing}\n"
               f"next: fer-bench table {shlex.quote(merged.sweep)} --out {shlex.quote(str(out))}")  # fmt: skip
