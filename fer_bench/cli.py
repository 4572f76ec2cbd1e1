"""The command line: parses, calls, prints. Heavy imports wait until a command needs them, so ``--help`` is quick."""

from __future__ import annotations

import functools
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fer_bench.text import counted, visible

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120, "auto_envvar_prefix": None}


class Numbers(click.ParamType):
    """A comma-separated list of numbers of one type."""

    def __init__(self, kind: type) -> None:
        self.kind, self.name = kind, "N,N,…" if kind is int else "X,X,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        numbers = []
        for part in value.split(","):
            try:
                numbers.append(self.kind(part.strip()))
            except ValueError:
                self.fail(f"{part.strip()!r} is not {'a whole number' if self.kind is int else 'a number'}", param, ctx)
        return numbers


class Names(click.ParamType):
    """A comma-separated list of names."""

    name = "A,B,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        return [part.strip() for part in value.split(",") if part.strip()]


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
            from fer_bench.data.manifest import DataError
            from fer_bench.registry import PluginError
            from fer_bench.spec import SpecError

            if isinstance(error, (SpecError, DataError, PluginError)):
                _fail(str(error), 2)
            if isinstance(error, (OSError, RuntimeError)):
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


OUT = click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="results", show_default=True,
                   help="Folder of runs and sweeps.")  # fmt: skip
PLUGINS = click.option("--plugins", multiple=True, metavar="PATH",
                       help="A folder (or file) with methods of your own; may be given more than once.")  # fmt: skip
DATASET = click.option("--dataset", default="synthetic", show_default=True,
                       help="A name (see `fer-bench datasets`), a folder of images, or a CSV file.")  # fmt: skip
ROOT = click.option("--data-root", type=click.Path(path_type=Path), default=None,
                    help="Folder that holds the data sets [default: $FER_BENCH_DATA or ./data].")  # fmt: skip
PRECISION = click.option("--precision", default=None,
                         help="Of the networks' forward passes: float32 or bf16 [default: the recipe's].")  # fmt: skip
COMPILE = click.option("--compile/--no-compile", default=None,
                       help="Compile the networks, which takes minutes at first [default: the recipe's].")  # fmt: skip
JOBS = click.option("--jobs", type=int, default=None,
                    help="Runs at the same time [default: one a core, or one a GPU].")  # fmt: skip
JOBS_PER_DEVICE = click.option("--jobs-per-device", type=int, default=None, metavar="N",
                               help="In place of --jobs: N runs at the same time on each device.")  # fmt: skip
DEVICE = click.option("--device", default="auto", show_default=True,
                      help="auto, cpu, cuda, cuda:N, or a list: cuda:0,cuda:1.")  # fmt: skip
LAUNCHER = click.option("--launcher", default="local", show_default=True,
                        help="Who trains: local, ray (a Ray cluster) or slurm; see docs/cluster.md.")  # fmt: skip
LAUNCHER_OPTIONS = click.option("--launcher-option", "launcher_options", multiple=True, metavar="KEY=VALUE",
                                help="Of ray: address, gpus, …; of slurm: partition, minutes, array, …")  # fmt: skip
DEDUP = click.option("--dedup", is_flag=True, help="Leave out training images that are copies of test images.")


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(package_name="fer-bench", prog_name="fer-bench")
def main() -> None:
    """Compares methods for facial expression recognition under noisy labels and class imbalance.

    \b
    fer-bench run --methods nla,jocor,eac --noise 0.1,0.2,0.3      train, then table and plots
    fer-bench methods                                              what can be compared
    """


@main.command()
@click.option("--methods", type=Names(), required=True, help="Keys, globs, or 'all'; see `fer-bench methods`.")
@click.option("--noise", type=Numbers(float), default=None, help="Rates of label noise, 0 to 1 [default: 0].")
@click.option("--noise-type", "noise_types", type=Names(), default="symmetric", show_default=True,
              help="Kinds of label noise: symmetric, pair, class-dependent, instance, human, …")  # fmt: skip
@click.option("--noise-mode", type=click.Choice(["exact", "bernoulli"]), default="exact", show_default=True,
              help="An exact number of wrong labels, or one coin for each label.")  # fmt: skip
@click.option("--noise-file", type=click.Path(path_type=Path), help="For the kinds confusion, instance-hard and file.")
@click.option("--imbalance", type=Numbers(float), default="1", show_default=True,
              help="Imbalance factors (largest class over smallest); 1 leaves the data as they are.")  # fmt: skip
@click.option("--imbalance-type", type=click.Choice(["exp", "step"]), default="exp", show_default=True)
@click.option("--seeds", type=Numbers(int), default="0", show_default=True, help="Training seeds.")
@click.option("--data-seed", type=int, default=0, show_default=True, help="Draws noise, imbalance, part and hold-out.")
@DATASET
@ROOT
@DEDUP
@click.option("--train-size", type=int, default=None, help="Train on a stratified part of this many images.")
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    help="A recipe: quick (CPU), standard, paper (GPU), or a .toml file.",
)
@click.option("--epochs", type=int, default=None)
@click.option("--batch-size", type=int, default=None)
@click.option("--lr", type=float, default=None, help="Learning rate.")
@click.option("--backbone", default=None, help="ferres8 (small, built in) or any timm model.")
@click.option("--image-size", type=int, default=None, help="Side of the images in pixels.")
@PRECISION
@COMPILE
@click.option("--pretrained", default="", help="A file of weights, 'efficientnet-lite0', or 'timm'.")
@click.option("--unlabelled", type=click.Path(path_type=Path), default=None, metavar="FOLDER",
              help="Images for methods that learn from unlabelled ones [default: the training images].")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="METHOD.FIELD=VALUE", help="A hyper-parameter of a method.")
@PLUGINS
@OUT
@click.option("--name", default=None, help="Name of the sweep's folder [default: data set and a hash].")
@JOBS
@JOBS_PER_DEVICE
@DEVICE
@LAUNCHER
@LAUNCHER_OPTIONS
@click.option("--force", is_flag=True, help="Train again what is already done.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=None, metavar="MINUTES",
              help="End a run that takes longer. It has failed; a later call goes on from its last epoch.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the runs, what is done, what is skipped and why, and the time.")
@stoppable
def run(
    out: Path, name: str | None, jobs: int | None, jobs_per_device: int | None, device: str, launcher: str,
    launcher_options: tuple[str, ...], force: bool, time_limit: float | None, dry_run: bool, **options: Any,
) -> None:  # fmt: skip
    """Trains methods under label noise and imbalance, and writes tables and plots. What is done is not done again."""
    from fer_bench import api
    from fer_bench.launch import choose
    from fer_bench.sweep import folder_name, plan

    console, launch = _console(), choose(launcher, launcher_options, time_limit)
    name = name if name is None else folder_name(name)
    request = api.make_request(**options)
    with console.status("looking at the data …") as status:
        planned = plan(
            request,
            lambda what, done, total: status.update(f"{what}: {done:,} of {total:,}"),
            looks_right=(lambda: None) if dry_run else launch.warm_up,
        )
    for reason in planned.skipped:
        console.print(f"skipped  {reason}", style="yellow", markup=False, highlight=False)
    if not planned.runs:
        _fail("no method can run", 1)
    if dry_run:
        _show_plan(planned, out, jobs, jobs_per_device, device, force, launch)
        return
    outcome = api.carry_out(planned, out, jobs, device, name, force, console, _command(), launch, jobs_per_device)
    _show_outcome(outcome, out)
    if outcome.failed:
        sys.exit(1)


def _show_plan(
    planned: Any, out: Path, jobs: int | None, jobs_per_device: int | None, device: str, force: bool, launcher: Any
) -> None:
    from rich.table import Table

    from fer_bench import api
    from fer_bench.display import duration
    from fer_bench.store import RunFolder

    todo = api.missing(planned, out, force)
    table = Table("run", "key", "state", title=f"sweep {planned.name}", title_justify="left")
    for item in planned.runs:
        state = "again" if force else RunFolder.of(out, item.spec).state
        table.add_row(item.spec.name, item.spec.key, {"new": "to train"}.get(state, state))
    console = _console()
    console.print(table)
    devices = api.choose_places(launcher, device, jobs, len(todo), jobs_per_device)
    api.check_compiled(todo, devices)
    done, skipped = len(planned.runs) - len(todo), len(planned.skipped)
    counts = (
        f"{counted(len(planned.runs), 'run')}: {done} done, {len(todo)} to train; {counted(skipped, 'method')} skipped"
    )
    if not launcher.local:
        console.print(f"{counts}; trained by {launcher.name}, where the speed is not known here")
        return
    with console.status("measuring the speed of this machine …"):
        seconds = api.estimate(todo, out, devices)
    console.print(
        f"{counts}; about {duration(seconds)} with {len(devices)} at a time on {', '.join(sorted(set(devices)))}"
    )


def _show_outcome(outcome: Any, out: Path) -> None:
    from fer_bench.report import tables

    console, sweep = _console(), outcome.sweep
    runs = sweep.finished()
    if not runs.empty:
        console.print(tables.comparison(runs, notes=sweep.unfinished(), classes=sweep.classes).rich())
    if not outcome.trained:
        console.print("nothing to train: every run was done before", style="dim")
    console.print(f"tables, runs.csv and plots: [bold]{sweep.folder}[/bold]", highlight=False, soft_wrap=True)
    if outcome.failed:
        console.print(
            f"{counted(outcome.failed, 'run')} failed; why: fer-bench status {sweep.name} --out {out}",
            style="red",
            soft_wrap=True,
        )
    else:
        several = runs["seed"].nunique() > 1
        hint = f"fer-bench table {sweep.name} --out {out} --format latex" if several else "the same with --seeds 0,1,2"
        console.print(f"next: {hint}", style="dim", soft_wrap=True, highlight=False)


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--backbone", required=True, help="The network of the weights: resnet18, resnet50_caffe, any timm model.")
@click.option("--provenance", required=True, help="Where the weights are from, in a line; captions show it.")
def convert_weights(source: Path, target: Path, backbone: str, provenance: str) -> None:
    """Writes the weights in SOURCE to TARGET, a safetensors file that says what it is; no code in SOURCE is run.

    SOURCE is a checkpoint of PyTorch or a pickled dict of numpy arrays (the ResNet-50 of VGGFace2).
    """
    from fer_bench.engine.networks import check_backbone, make_network
    from fer_bench.engine.weights import convert, file_hash

    check_backbone(backbone)
    net = make_network(backbone, 2, seed=0, role="convert", pretrained="", weights=None)
    loaded = convert(net, backbone, source, target, provenance)
    left = f"; left out: {', '.join(loaded.left)}" if loaded.left else ""
    click.echo(f"{target}: {loaded.taken} tensors of {backbone}{left}\n{file_hash(target)}\n"
               f"use it with: --backbone {backbone} --pretrained {target}")  # fmt: skip


@main.command()
@click.argument("sweep", required=False)
@OUT
def status(sweep: str | None, out: Path) -> None:
    """Shows what is done, running, interrupted or failed (with the reason) in SWEEP, or in the newest one."""
    from collections import Counter

    from fer_bench.sweep import find_sweep
    from fer_bench.watch import last_lines

    console, found = _console(), find_sweep(out, sweep)
    console.print(f"sweep [bold]{found.name}[/bold]  {found.content['command']}", highlight=False, soft_wrap=True)
    states = found.states()
    counts = Counter(now for now, _ in states)
    console.print(", ".join(f"{number} {now}" for now, number in counts.most_common()) or "no runs")
    for line in found.unfinished(states):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for folder, (now, _) in zip(found.runs, states, strict=True):
        if now == "failed":
            console.rule(str(folder.path), style="red")
            console.print(folder.failure.get("traceback", ""), markup=False, highlight=False)
            if lines := last_lines(folder.path / "log.txt", 20):
                console.print("last lines of log.txt:", style="dim")
                console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


@main.command()
@click.argument("sweep", required=False)
@OUT
@click.option("--once", is_flag=True, help="Show it once and leave; for scripts.")
def watch(sweep: str | None, out: Path, once: bool) -> None:
    """Follows SWEEP (or the newest one) from another shell, until it is done or Ctrl-C. Exit code 1 if a run failed."""
    from fer_bench.sweep import find_sweep
    from fer_bench.watch import watch as follow

    if follow(find_sweep(out, sweep), _console(), once):
        sys.exit(1)


@main.command()
@click.argument("sweep", required=False)
@OUT
@click.option("--format", "style", type=click.Choice(["terminal", "markdown", "csv", "latex", "html"]),
              default="terminal", show_default=True)  # fmt: skip
@click.option("--protocol", "protocols", type=Names(), default="last", show_default=True,
              help="Which epochs: last, mean_last_5, best_val, best_test (an oracle).")  # fmt: skip
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
    from fer_bench.report import tables
    from fer_bench.report.measures import View
    from fer_bench.sweep import find_sweep

    view = View(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})  # type: ignore[arg-type]
    found = find_sweep(out, sweep)
    runs = found.finished()
    if runs.empty:
        _nothing_finished(found)
    content = tables.comparison(runs, notes=found.unfinished(), classes=found.classes, view=view)
    if style == "terminal":
        _console().print(content.rich())
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
    from fer_bench.report.difference import difference, find_run

    found = difference(find_run(out, first), find_run(out, second))
    _console().print(found)
    if not found.identical:
        sys.exit(1)


@main.command()
@click.argument("sweep", required=False)
@OUT
def plot(sweep: str | None, out: Path) -> None:
    """Draws the plots of SWEEP (or the newest one) again; trains nothing."""
    from fer_bench import api
    from fer_bench.sweep import find_sweep

    written = [path for path in api.write_outputs(find_sweep(out, sweep)) if path.suffix in (".png", ".pdf")]
    if not written:
        _fail("no finished run to plot", 1)
    for path in written:
        click.echo(path)


@main.command()
@click.argument("table", required=False)
@click.option("--list", "listing", is_flag=True, help="List the tables that fer-bench knows.")
@click.option("--on", default=None, metavar="DATASET", help="Measure every column on this data set instead.")
@ROOT
@DEDUP
@click.option("--preset", default=None, help="A recipe in place of the table's [default with --on: quick].")
@click.option("--epochs", type=int, default=None)
@click.option("--train-size", type=int, default=None, help="Train on a stratified part of this many images.")
@click.option("--seeds", type=Numbers(int), default=None, help="Training seeds [default: the table's].")
@click.option("--backbone", default=None, help="One network for all columns.")
@click.option("--image-size", type=int, default=None, help="Side of the images in pixels.")
@PRECISION
@COMPILE
@click.option("--pretrained", multiple=True, metavar="[BACKBONE=]FILE", help="A checkpoint, 'timm', or 'none'.")
@click.option("--protocol", default=None, help="The epoch that is measured: last, best_val, best_test (an oracle), …")
@PLUGINS
@OUT
@click.option("--name", default=None, help="Name of the folder in reproduce/ [default: table and data set].")
@JOBS
@JOBS_PER_DEVICE
@DEVICE
@LAUNCHER
@LAUNCHER_OPTIONS
@click.option("--force", is_flag=True, help="Train again what is already done.")
@click.option("--dry-run", is_flag=True, help="Show the runs, what cannot be measured and why, and the time.")
@stoppable
def reproduce(
    table: str | None, listing: bool, out: Path, name: str | None, jobs: int | None, jobs_per_device: int | None,
    device: str, launcher: str, launcher_options: tuple[str, ...], force: bool, dry_run: bool, **budget: Any,
) -> None:  # fmt: skip
    """Trains the table of a paper again and puts the published numbers beside the measured ones.

    TABLE is an id of --list, or a TOML file of your own. Cells that cannot be measured keep their published number and
    say what is missing.
    """
    from fer_bench import api
    from fer_bench.launch import choose
    from fer_bench.registry import discover, plugin_folders
    from fer_bench.reproduce import definition, grid, joined, listed
    from fer_bench.sweep import folder_name

    console, launch = _console(), choose(launcher, launcher_options)
    name = name if name is None else folder_name(name)
    plugins = discover(plugin_folders(budget["plugins"]))
    if listing or table is None:
        console.print(listed(definition.load(each, plugins) for each in definition.available()))
        return
    wanted = definition.load(table, plugins)
    with console.status("looking at the data …") as status:
        planned = grid.prepare(
            wanted, grid.Budget(**budget), lambda what, done, total: status.update(f"{what}: {done:,} of {total:,}")
        )
    folder = out / "reproduce" / (name or planned.name)
    failed = 0
    for sweep, plan in planned.sweep_names(folder.name):
        if dry_run:
            _show_plan(plan, out, jobs, jobs_per_device, device, force, launch)
            continue
        outcome = api.carry_out(plan, out, jobs, device, sweep, force, console, _command(), launch, jobs_per_device)
        failed += outcome.failed
    content, runs = joined.join(planned, out)
    console.print(content.rich())
    if not dry_run:
        joined.write(content, runs, folder)
        console.print(f"table.md, .csv, .tex and .html: [bold]{folder}[/bold]", highlight=False, soft_wrap=True)
    if failed or not planned.plans:
        _fail(f"{counted(failed, 'run')} failed" if failed else "nothing can be measured; the notes say why", 1)


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
    from fer_bench.registry import plugin_folders
    from fer_bench.report import page
    from fer_bench.sweep import find_sweep

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
    from fer_bench import clean as cleaning
    from fer_bench.registry import discover, plugin_folders

    console = _console()
    found = cleaning.find(out, discover(plugin_folders(plugins)), outdated)
    console.print(cleaning.listing(found))
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
    from fer_bench import archive
    from fer_bench.sweep import find_sweep

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
    from fer_bench import api
    from fer_bench.archive import unpack as merge
    from fer_bench.sweep import find_sweep

    with _console().status(f"checking {archive} …"):
        merged = merge(archive, out, sha256, name)
        api.write_outputs(find_sweep(out, merged.sweep))
    missing = f", {merged.missing} not in the archive" if merged.missing else ""
    click.echo(f"sweep {merged.sweep}: {merged.added} runs added, {merged.known} were there before{missing}\n"
               f"next: fer-bench table {shlex.quote(merged.sweep)} --out {shlex.quote(str(out))}")  # fmt: skip


@main.command()
@click.argument("key", required=False)
@PLUGINS
def methods(key: str | None, plugins: tuple[str, ...]) -> None:
    """Lists the methods, or shows one as a card: citation, idea, hyper-parameters with sources, deviations."""
    from fer_bench import cards
    from fer_bench.registry import discover, plugin_folders
    from fer_bench.reproduce.published import shipped
    from fer_bench.spec import SpecError, nearest

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
    from fer_bench import scaffold

    for path in scaffold.new_method(key, template, folder):
        click.echo(f"wrote {path}")
    click.echo(f"the places to change are marked CHANGE\n{scaffold.next_commands(key, folder)}")


@main.command()
@click.argument("file_or_key")
@PLUGINS
def test_method(file_or_key: str, plugins: tuple[str, ...]) -> None:
    """Checks a method against the contract: trains it for moments on a small drawn problem. Exit code 1 if it fails."""
    import time

    from fer_bench.scaffold import examine, find_plugin

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


@main.command()
@click.argument("name", required=False)
def datasets(name: str | None) -> None:
    """Lists the data sets, or says of one where to get it and how its files must lie."""
    from fer_bench import cards

    _console().print(cards.dataset_list() if name is None else cards.dataset_card(name))


@main.group()
def data() -> None:
    """Looks at data before anything is trained."""


@data.command()
@DATASET
@ROOT
@DEDUP
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
              help="Draw 16 faces with their landmarks, each beside its mirror image.")  # fmt: skip
def check(dataset: str, data_root: Path | None, dedup: bool, sheet: Path | None) -> None:
    """Counts, decodes every image, and finds exact duplicates across splits. Exit code 1 if something is wrong."""
    from fer_bench.data import landmarks
    from fer_bench.data.cache import read_manifest
    from fer_bench.data.check import check as examine
    from fer_bench.data.images import SUFFIXES
    from fer_bench.spec import require

    known = sheet is None or sheet.suffix.lower() in SUFFIXES
    require(known, f"--sheet {sheet}: its name must end in one of {', '.join(SUFFIXES)}")
    console = _console()
    with console.status(f"decoding {dataset} …"):
        manifest = landmarks.added(read_manifest(dataset, data_root, dedup), dataset, data_root)
        report = examine(manifest)
    console.print(report.render())
    if sheet is not None:
        from fer_bench.data.sheet import draw

        sheet.parent.mkdir(parents=True, exist_ok=True)
        draw(manifest).save(sheet)
        click.echo(f"wrote {sheet}")
    if report.undecodable:
        sys.exit(1)


@data.command("landmarks")
@click.argument("points", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@DATASET
@ROOT
@click.option("--frame", type=Numbers(float), default="1", show_default=True,
              help="Width,height (or one side) in pixels of the image that the points are measured in.")  # fmt: skip
def write_landmarks(points: Path, dataset: str, data_root: Path | None, frame: list[float]) -> None:
    """Writes landmarks.npz beside the images of a data set from POINTS, an .npz file of what a detector found.

    \b
    POINTS holds the arrays
      points   [N, 19, 2] in the order of AFLW, or [N, 68, 2] in that of iBUG: (x, y) in pixels of --frame
      ids      (optional) str [N]; without it, the rows are those of the data set, sorted by id
      found    (optional) bool [N]; without it, a face with NaN among its points was not found

    Methods that learn landmarks find the file by its place. Runs of other methods stay as they are.
    Look at the result: fer-bench data check --dataset … --sheet faces.png
    """
    from fer_bench.data import landmarks
    from fer_bench.data.cache import read_manifest
    from fer_bench.spec import SpecError, require

    sound = len(frame) in (1, 2) and all(0 < side < float("inf") for side in frame)
    require(sound, f"--frame {frame}: one side or width,height, above 0")
    target = landmarks.place(dataset, data_root)
    if target is None:
        raise SpecError(f"--dataset {dataset}: drawn faces have landmarks of their own")
    with _console().status(f"reading {dataset} …"):
        ids = read_manifest(dataset, data_root, False).ids
        written = landmarks.write(points, target, ids, (frame[0], frame[-1]))
    click.echo(f"wrote {target}: landmarks of {written.found.sum():,} of {len(ids):,} images of {dataset}")


def _console() -> Any:
    from rich.console import Console

    return Console()


def _command() -> str:
    return shlex.join(["fer-bench", *sys.argv[1:]])


if __name__ == "__main__":
    main()
