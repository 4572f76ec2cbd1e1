"""Commands that move or remove stored runs: pack, unpack, clean."""

from __future__ import annotations

from pathlib import Path

import click

from fer_bench.cli.console import console, echo, quoted, status
from fer_bench.cli.group import main
from fer_bench.cli.options import OUT, PLUGINS
from fer_bench.core.text import counted


@main.command()
@OUT
@PLUGINS
@click.option("--outdated", is_flag=True, help="Also finished runs of a method whose code has changed since.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Remove without asking; for scripts.")
def clean(out: Path, plugins: tuple[str, ...], outdated: bool, dry_run: bool, yes: bool) -> None:
    """Removes failed, interrupted and outdated runs and left-over files, after showing them.

    A run that is being trained is never removed, and a finished run only with --outdated.
    """
    from fer_bench.cli.views.leftovers import leftover_list
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.sweep.clean import find, remove

    found = find(out, discover(plugin_folders(plugins)), outdated)
    console().print(leftover_list(found))
    if not found or dry_run:
        return
    if not yes and not click.confirm("remove them?"):
        echo("nothing was removed")
        return
    with status("removing; a run of a machine that does not respond is watched for a minute first …"):
        removed, kept = remove(found, out)
    echo(f"{removed} removed" + (f"; {kept} kept, because they are being trained now" if kept else ""))


@main.command()
@click.argument("sweep")
@OUT
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FILE.tar.gz",
              help="The archive to write [default: SWEEP.tar.gz].")  # fmt: skip
@click.option("--networks", is_flag=True, help="Also the trained models that were kept.")
def pack(sweep: str, out: Path, to: Path | None, networks: bool) -> None:
    """Writes one archive of SWEEP: settings, records and environment of its finished runs, and its tables."""
    from fer_bench.sweep import archive
    from fer_bench.sweep.record import find_sweep

    found = find_sweep(out, sweep)
    packed = archive.pack(found, to or Path(f"{found.name}.tar.gz"), networks)
    left = f"; {counted(packed.left_out, 'run')} not finished here and left out" if packed.left_out else ""
    size = packed.path.stat().st_size / 1e6
    echo(f"{packed.path}: {counted(packed.runs, 'run')}, {size:.1f} MB{left}\nsha256 {packed.sha256}")


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@OUT
@click.option("--sha256", default="", metavar="HEX", help="Refuse a file with any other hash.")
@click.option("--name", default="", help="Another name for the sweep.")
def unpack(archive: Path, out: Path, sha256: str, name: str) -> None:
    """Merges an ARCHIVE of `fer-bench pack` into the results, as a whole or not at all.

    An archive is refused if it is damaged or was tampered with, or if its runs contradict stored ones.
    """
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.report import outputs
    from fer_bench.sweep.archive import unpack as merge
    from fer_bench.sweep.record import find_sweep

    with status(f"checking {archive} …"):
        merged = merge(archive, out, sha256, name)
        outputs.write_outputs(find_sweep(out, merged.sweep), discover(plugin_folders(())))
    missing = f", {merged.missing} not in the archive" if merged.missing else ""
    echo(f"sweep {merged.sweep}: {counted(merged.added, 'run')} added, {merged.known} already there{missing}\n"
         f"next: {quoted('fer-bench', 'table', merged.sweep, '--out', out)}")  # fmt: skip
