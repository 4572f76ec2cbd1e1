"""What this machine is, and what to use on it. Speeds are measured, and nothing is trained."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fer_bench.core import machine
from fer_bench.core.errors import FerBenchError, SpecError
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Recipe
from fer_bench.data.cache import cache_folder
from fer_bench.data.catalog import DATASETS, default_root
from fer_bench.engine.environment import PACKAGES, version
from fer_bench.launch.devices import choose_devices
from fer_bench.models.catalog import FROM_NPM, PACKAGED, Known
from fer_bench.models.networks import make_network
from fer_bench.models.precision import Precision
from fer_bench.models.pretrained import find_weights
from fer_bench.sweep.estimate import estimate
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import make_request

OPTIONAL = ("triton", "ray", "submitit")

SWEEP = {"methods": "all", "noise": 0.4}
"""The sweep whose time is estimated: every method once, on the embedded data set."""

MEASURED = 0.5
"""Seconds of each of the four measurements, after two passes that do not count."""

FASTER = 0.9
"""bf16 is worth it if its step takes at most this share of the time of one in float32: it changes every number."""

RUN_BYTES = 1.2e9
"""Memory of a run on a CPU: PyTorch, the network and its maps, decoded images (docs/development/speed.md)."""


@dataclass(frozen=True)
class Gpu:
    """A GPU; ``capability`` as "9.0", memory in bytes."""

    name: str
    capability: str
    memory: int
    free: int


@dataclass(frozen=True)
class Machine:
    """What this machine is.

    Attributes:
        processor: Its name.
        cores: Of the processor.
        instructions: Instruction sets for networks.
        used: The instruction set that PyTorch has chosen.
        memory: Of the machine.
        gpus: That PyTorch sees.
        load: Programs that wanted to run in the last minute, on average; None where it is not known.
        versions: Of packages, by name; "?" for one that is not installed.
        results: The folder of results.
        cache: The folder of decoded images.
    """

    processor: str
    cores: machine.Cores
    instructions: list[str]
    used: str
    memory: machine.Memory
    gpus: list[Gpu]
    load: float | None
    versions: dict[str, str]
    results: machine.Folder
    cache: machine.Folder


@dataclass(frozen=True)
class Speed:
    """Median milliseconds for a batch of a recipe, by precision: a forward pass, and one with its backward pass."""

    device: str
    backbone: str
    image_size: int
    batch_size: int
    forward: dict[str, float]
    step: dict[str, float]

    @property
    def bf16(self) -> float:
        """The time of a step in bf16, as a share of one in float32."""
        return self.step["bf16"] / self.step["float32"]


@dataclass(frozen=True)
class Advice:
    """What to use: options, and the reason for each; seconds of SWEEP, or why they cannot be told."""

    precision: str
    precision_reason: str
    device: str
    jobs: int
    jobs_reason: str
    seconds: float | None
    no_estimate: str


@dataclass(frozen=True)
class Examination:
    """Everything that ``fer-bench doctor`` tells.

    Attributes:
        machine: What it is.
        data: Whether each data set is there, by name; drawn ones are.
        data_root: The folder of the data sets.
        weights: Names of known weights, and whether they are there.
        preset: Name of the recipe of ``speed`` and ``advice``.
        speed: What was measured.
        advice: What to use.
        problems: What would keep a sweep from running.
    """

    machine: Machine
    data: dict[str, bool]
    data_root: str
    weights: dict[str, bool]
    preset: str
    speed: Speed
    advice: Advice
    problems: list[str]

    def plain(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        values, this = asdict(self), self.machine
        values["machine"]["cores"]["usable"] = this.cores.usable
        values["machine"]["memory"]["usable"] = this.memory.usable
        return values


def examine(out: Path, data_root: Path | None = None, device: str = "auto", preset: str | None = None) -> Examination:
    """Looks at this machine and measures it for about two seconds.

    Args:
        out: Folder of the results.
        data_root: Folder of the data sets; None for the usual one.
        device: As for ``fer-bench run``.
        preset: The recipe to measure; None for quick on a CPU and standard on a GPU.

    Raises:
        SpecError: There is no such device or preset.
    """
    devices = choose_devices(device, None, 10_000)
    name = preset or ("quick" if devices[0] == "cpu" else "standard")
    recipe = load_preset(name)
    this = look(out)
    root = data_root or default_root()
    speed = measure(recipe, devices[0])
    return Examination(
        machine=this,
        data={key: entry.drawn or (root / entry.folder).is_dir() for key, entry in DATASETS.items()},
        data_root=str(root),
        weights={key: _is_here(key, known) for key, known in {**PACKAGED, **FROM_NPM}.items()},
        preset=name,
        speed=speed,
        advice=advise(this, recipe, name, devices, speed, out),
        problems=[
            f"nothing can be written to the folder of {what} {folder.path}: {folder.problem}"
            for what, folder in (("results", this.results), ("decoded images", this.cache))
            if folder.problem
        ],
    )


def look(out: Path) -> Machine:
    """What this machine is; nothing is measured."""
    return Machine(
        processor=machine.processor(),
        cores=machine.cores(),
        instructions=machine.extensions(),
        used=torch.backends.cpu.get_cpu_capability(),
        memory=machine.memory(),
        gpus=[_gpu(number) for number in range(torch.cuda.device_count())],
        load=machine.load(),
        versions={name: version(name) for name in (*PACKAGES, *OPTIONAL)} | {"CUDA": torch.version.cuda or "?"},
        results=machine.folder(out),
        cache=machine.folder(cache_folder()),
    )


def _gpu(number: int) -> Gpu:
    about = torch.cuda.get_device_properties(number)
    return Gpu(about.name, f"{about.major}.{about.minor}", about.total_memory, torch.cuda.mem_get_info(number)[0])


def _is_here(weights: str, known: Known) -> bool:
    try:
        find_weights(weights, known.backbone)
    except SpecError:
        return False
    return True


def measure(recipe: Recipe, device: str, seconds: float = MEASURED) -> Speed:
    """Times both precisions of a recipe's network on random images, which take turns.

    On a CPU it is processor time, as one run at a time needs it of an idle machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        size = (recipe.batch_size, 3, recipe.image_size, recipe.image_size)
        images = torch.randn(size, device=device).contiguous(memory_format=torch.channels_last)
        nets = {name: _network(recipe, name, device) for name in ("float32", "bf16")}
        clock = _clock(device, recipe.threads)
        found = {
            part: _medians({name: _pass(net, images, part) for name, net in nets.items()}, clock, 2 * seconds)
            for part in ("forward", "step")
        }
    finally:
        torch.set_num_threads(threads)
    return Speed(device, recipe.backbone, recipe.image_size, recipe.batch_size, found["forward"], found["step"])


def _network(recipe: Recipe, name: Any, device: str) -> Any:
    net = make_network(recipe.backbone, 7, seed=0, role="speed", pretrained="", weights=None).to(device).train()
    precision = Precision(replace(recipe, precision=name, compile=False), torch.device(device))
    precision.adapt(net)
    precision.active = True
    return net


def _pass(net: Any, images: torch.Tensor, part: str) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            net(images)

    def step() -> None:
        net(images).square().mean().backward()
        net.zero_grad()

    return forward if part == "forward" else step


def _medians(works: dict[str, Callable[[], None]], clock: Callable[[], float], seconds: float) -> dict[str, float]:
    """Median milliseconds of each piece of work; at least one after the first two, and more while there is time."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    began = time.perf_counter()
    while len(spent["float32"]) < 3 or time.perf_counter() - began < seconds:
        for name, work in works.items():
            started = clock()
            work()
            spent[name].append(1000 * (clock() - started))
    return {name: statistics.median(times[2:]) for name, times in spent.items()}


def _clock(device: str, threads: int) -> Callable[[], float]:
    """Seconds that go on while a device works: of all threads of this process, so that other programs do not count."""

    def on_gpu() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return (lambda: time.process_time() / threads) if device == "cpu" else on_gpu


def advise(this: Machine, recipe: Recipe, preset: str, devices: list[str], speed: Speed, out: Path) -> Advice:
    """What to use on a machine for a recipe, by what was measured."""
    bf16 = speed.bf16 <= FASTER
    on_cpu = devices[0] == "cpu"
    jobs, reason = _jobs(this, recipe) if on_cpu else (len(devices), "one run for each GPU")
    seconds, problem = None, ""
    try:
        plan = make_plan(make_request(**SWEEP, preset=preset))
        seconds = estimate(list(plan.runs), out, [devices[i % len(devices)] for i in range(min(jobs, len(plan.runs)))])
    except (FerBenchError, OSError) as error:
        problem = str(error)
    return Advice(
        precision="bf16" if bf16 else "float32",
        precision_reason=f"a step in bf16 takes {speed.bf16:.2f} of the time of one in float32",
        device="cpu" if on_cpu else ",".join(devices),
        jobs=jobs,
        jobs_reason=reason,
        seconds=seconds,
        no_estimate=problem,
    )


def _jobs(this: Machine, recipe: Recipe) -> tuple[int, str]:
    """How many runs at a time the cores and the memory are enough for."""
    by_cores = max(1, this.cores.usable // recipe.threads)
    free = this.memory.usable
    by_memory = by_cores if free is None else max(1, int(free // RUN_BYTES))
    if by_memory < by_cores:
        return by_memory, f"a run takes about {RUN_BYTES / 1e9:.1f} GB of memory"
    return by_cores, f"one run for each {'core' if recipe.threads == 1 else f'{recipe.threads} cores'} that is usable"
