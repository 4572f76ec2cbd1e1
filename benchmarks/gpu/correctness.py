"""Whether all methods train on the device: without error, equally with one seed, and equally after a kill; how far from
the CPU; and where a step makes the CPU wait for the device."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.findings import Part
from benchmarks.gpu.sweeps import runs, train_apart
from benchmarks.gpu.waits import watch_steps
from fer_bench.plugins.registry import discover
from fer_bench.store.diff import difference
from fer_bench.store.folder import RunFolder

EPOCHS = 3
TOLERANCE = {"loss": 0.01, "nll": 0.05, "overall": 0.08}
"""Largest differences from the CPU after the first epoch: of the mean training loss, as a share; of the test loss, in
nats; of test accuracy. The device adds in another order, and its convolutions round to TF32; a step of Adam has the
size of the learning rate whatever the gradient, so small differences grow within an epoch. Twelve methods in bf16,
which rounds more, were on a CPU at most 0.004, 0.026 and 0.048 from float32."""


def check(part: Part) -> None:
    """All checks, the most important first."""
    methods = ["ce", "eac", "coteaching"] if part.small else sorted(discover())
    request = {
        "methods": methods,
        "noise": 0.4,
        "train_size": 210 if part.small else 1000,
        "epochs": EPOCHS,
        "image_size": 32 if part.small else None,
    }
    jobs = 2 if part.small else 8
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = train_apart(folder / "first", part.device, jobs, request, part.left)
        _report_training(part, folder / "first", methods, code)
        if part.enough_time("host-device synchronisation"):
            watch_steps(part, methods)
        if part.enough_time("the same seed twice"):
            train_apart(folder / "again", part.device, jobs, request, part.left)
            _report_equality(part, "the same seed twice", folder / "first", folder / "again")
        if part.enough_time("kill and resume"):
            killed = _train_with_kill(folder / "killed", part, jobs, request)
            part.found("kill", resumed=sorted(killed))
            _report_equality(part, "kill and resume", folder / "first", folder / "killed")
        if part.enough_time("the CPU"):
            train_apart(folder / "cpu", "cpu", 2 if part.small else 16, request, part.left)
            _report_distances(part, folder / "first", folder / "cpu")


def _report_training(part: Part, out: Path, methods: list[str], code: int) -> None:
    found = {path.split("/")[2]: folder for path, folder in runs(out).items()}
    for method in methods:
        folder = found.get(method)
        error = (
            "not begun" if folder is None else folder.failure.get("error", "") or ("" if folder.final else "not done")
        )
        spent = folder.final["seconds"] if folder is not None and folder.final else None
        part.found("trains", method=method, error=error, seconds=spent)
    part.found("sweep", exit_code=code)


def _train_with_kill(out: Path, part: Part, jobs: int, request: dict[str, Any]) -> set[str]:
    """Kills a sweep when as many runs as it has workers have a checkpoint, and trains the rest; the methods that then
    had a checkpoint."""
    begun: set[str] = set()

    def ready() -> bool:
        begun.update(path.parent.parent.name for path in out.glob("runs/*/*/*/checkpoint.pt"))
        return len(begun) >= jobs

    train_apart(out, part.device, jobs, request, part.left, kill_when=ready)
    begun = {path.parent.parent.name for path in out.glob("runs/*/*/*/checkpoint.pt")}
    if begun and part.left > 0:
        train_apart(out, part.device, jobs, request, part.left)
    return begun


def _report_equality(part: Part, what: str, one: Path, other: Path) -> None:
    for path, first, second in _pairs(one, other):
        differ = _differences(first, second)
        part.found(what, method=path.split("/")[2], equal=not differ, differ=differ[:3])


def _differences(one: RunFolder, other: RunFolder) -> list[str]:
    """The fields and arrays that are not equal to the last bit."""
    found = difference(one, other)
    names = [name for fields in [*(fields for _, fields in found.epochs), found.final] for name, _, _ in fields]
    for name, first, second in (("scores", one.scores(), other.scores()), ("probe", one.probe(), other.probe())):
        both = [each for each in first if each in second and first[each].tobytes() == second[each].tobytes()]
        names += [f"{name}.{each}" for each in sorted((first.keys() | second.keys()) - set(both))]
    return names


def _report_distances(part: Part, device: Path, cpu: Path) -> None:
    for path, one, other in _pairs(device, cpu):
        found = distances(one.epochs()[0], other.epochs()[0])
        within = all(value <= TOLERANCE[name] for name, value in found.items())
        part.found("the CPU", method=path.split("/")[2], within=within, **found)


def distances(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """How far two records of an epoch are apart, as TOLERANCE has it; no loss where a method logs none."""
    found = {name: abs(one["test"][name] - other["test"][name]) for name in ("nll", "overall")}
    losses = [record["train"].get("loss") for record in (one, other)]
    if None not in losses:
        found["loss"] = abs(losses[0] - losses[1]) / max(abs(losses[1]), 1e-9)
    return found


def _pairs(one: Path, other: Path) -> list[tuple[str, RunFolder, RunFolder]]:
    """The runs that both folders have finished."""
    first, second = runs(one), runs(other)
    common = sorted(first.keys() & second.keys())
    return [(path, first[path], second[path]) for path in common if first[path].final and second[path].final]
