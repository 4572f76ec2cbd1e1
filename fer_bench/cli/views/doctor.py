"""What ``fer-bench doctor`` prints."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fer_bench.launch.doctor import SWEEP, Advice, Examination, Machine, Speed
from fer_bench.launch.progress import duration

Row = tuple[str, str]


def examination(found: Examination) -> RenderableType:
    """The machine, what is found on it, what was measured, and what to use."""
    parts: list[RenderableType] = [
        *_section("This machine", _machine(found.machine)),
        *_section("Found", _found(found)),
        *_section("Measured", _measured(found.speed, found.preset)),
        *_section("Use", _advice(found.advice, found.preset)),
    ]
    parts += [Text.assemble(("problem: ", "bold red"), problem) for problem in found.problems]
    return Group(*parts)


def _section(title: str, rows: Iterable[Row]) -> tuple[RenderableType, RenderableType, RenderableType]:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=12)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return Text(title, style="bold cyan"), table, Text()


def _machine(this: Machine) -> list[Row]:
    cores, memory = this.cores, this.memory
    limits = [] if cores.affinity in (None, cores.online) else [f"affinity allows {cores.affinity}"]
    limits += [] if cores.cgroup is None else [f"control group allows {cores.cgroup:g}"]
    rows = [
        ("processor", f"{this.processor}; {', '.join(this.instructions) or 'instruction sets unknown'}"),
        ("cores", f"{cores.usable} usable of {cores.online}" + "".join(f"; {limit}" for limit in limits)),
        ("memory", f"{_size(memory.usable)} usable of {_size(memory.total)}"
         + ("" if memory.cgroup is None else f"; control group allows {_size(memory.cgroup)}")),
    ]  # fmt: skip
    if this.load is not None:
        busy = this.load > cores.usable
        rows.append(("load", f"{this.load:.1f}" + ("; other programs slow a sweep down" if busy else "")))
    for number, gpu in enumerate(this.gpus):
        rows.append((f"cuda:{number}", f"{gpu.name}, {_size(gpu.free)} free of {_size(gpu.memory)}, "
                     f"capability {gpu.capability}"))  # fmt: skip
    if not this.gpus:
        rows.append(("GPU", "none that PyTorch sees"))
    for name, folder in (("results", this.results), ("cache", this.cache)):
        state = f"cannot be written: {folder.problem}" if folder.problem else f"{_size(folder.free)} free"
        rows.append((name, f"{folder.path}: {state}"))
    installed = [f"{name} {number}" for name, number in this.versions.items() if number != "?"]
    return [*rows, ("versions", ", ".join(installed))]


def _found(found: Examination) -> list[Row]:
    there = [name for name, is_there in found.data.items() if is_there]
    absent = [name for name, is_there in found.data.items() if not is_there]
    weights = [f"{name}: {'yes' if is_there else 'no'}" for name, is_there in found.weights.items()]
    return [
        ("data sets", f"{', '.join(there)} (not checked; see fer-bench data check)"),
        ("not found", f"{', '.join(absent) or 'none'} (in {found.data_root}; see fer-bench datasets)"),
        ("weights", f"{', '.join(weights)}; files of yours: --pretrained FILE"),
    ]


def _measured(speed: Speed, preset: str) -> list[Row]:
    about = f"{speed.backbone}, {speed.image_size} px, batch {speed.batch_size} (preset {preset}), on {speed.device}"
    return [
        ("network", about),
        *((name, f"forward {speed.forward[name]:.1f} ms, with backward {speed.step[name]:.1f} ms"
           f"; {1000 * speed.batch_size / speed.step[name]:,.0f} images/s") for name in speed.step),
    ]  # fmt: skip


def _advice(advice: Advice, preset: str) -> list[Row]:
    precision = f"--precision {advice.precision}: {advice.precision_reason}"
    if advice.precision == "bf16":
        precision += "; it changes the numbers, so such runs have keys of their own"
    on_gpu = advice.device != "cpu"
    jobs = f"--jobs {advice.jobs}: {advice.jobs_reason}"
    if on_gpu:
        jobs += "; small networks may gain by more, with --jobs-per-device"
    sweep = f"every method once at noise {SWEEP['noise']}, preset {preset}"
    took = f"about {duration(advice.seconds)}" if advice.seconds is not None else f"unknown: {advice.no_estimate}"
    return [("precision", precision), ("jobs", jobs), ("a sweep", f"{sweep}, in float32: {took}")]


def _size(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e9:.1f} GB"
