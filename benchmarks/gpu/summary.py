"""A page of the findings, also of a check that was stopped: ``python -m benchmarks.gpu.summary FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.correctness import TOLERANCE
from benchmarks.gpu.findings import read

Finding = dict[str, Any]
PARTS = ("correctness", "steps", "jobs", "loader", "paper")


def markdown(found: Sequence[Finding]) -> str:
    """The findings in the order of the parts; what failed or was not reached is named."""
    parts = [_machine(found), _faults(found)]
    parts += [part(found) for part in (_correctness, _waits, _steps, _jobs, _loader, _paper)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _of(found: Iterable[Finding], what: str) -> list[Finding]:
    return [each for each in found if each["what"] == what and not each.get("trace")]


def _machine(found: Sequence[Finding]) -> str:
    machines = _of(found, "machine")
    if not machines:
        return "# GPU check\n\nNothing was found."
    about = machines[0]
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    lines = [f"# GPU check on {about['device']}", ""]
    if about["small"]:
        lines += ["A rehearsal, scaled down: its numbers mean nothing.", ""]
    lines.append(f"{about['cores']} cores, Python {about['python']}, {versions}, CUDA {about['cuda']}, "
                 f"cuDNN {about['cudnn']}; commit {about['commit']}.")  # fmt: skip
    begun, ended = ({each["part"] for each in _of(found, what)} for what in ("machine", "end"))
    for part in PARTS:
        if part not in ended:
            lines.append(f"\n- part {part}: {'did not end' if part in begun else 'was not begun'}")
    return "\n".join(lines)


def _faults(found: Sequence[Finding]) -> str:
    lines = [f"- {each['part']}: no time for {each['at']}" for each in _of(found, "not reached")]
    for each in found:
        if each.get("trace"):
            cell = ", ".join(f"{value}" for name, value in each.items() if name in CELL)
            lines.append(f"- {each['part']}: {each['what']} ({cell}) failed: {each['error']}")
    return "## Not found out\n\n" + "\n".join(lines) if lines else ""


CELL = ("method", "backbone", "size", "batch", "precision", "compile", "jobs", "workers")


def _correctness(found: Sequence[Finding]) -> str:
    trained = _of(found, "trains")
    if not trained:
        return ""
    equal = {
        what: {each["method"]: each for each in _of(found, what)} for what in ("the same seed twice", "kill and resume")
    }
    near = {each["method"]: each for each in _of(found, "the CPU")}
    resumed = [name for each in _of(found, "kill") for name in each["resumed"]]
    rows = []
    for each in trained:
        method = each["method"]
        row = [method, each["error"] or "yes", "" if each["seconds"] is None else f"{each['seconds']:.1f}"]
        row += [_equality(equal[what].get(method)) for what in equal]
        row.append(_distance(near.get(method)))
        rows.append(row)
    loss, nll, overall = TOLERANCE["loss"], TOLERANCE["nll"], TOLERANCE["overall"]
    limits = f"loss {loss:.0%}, test loss {nll} nats, accuracy {100 * overall:g} points"
    head = ["method", "3 epochs", "seconds", "same seed twice", "kill and resume", "CPU, epoch 1"]
    return (
        f"## All methods\n\n{_table(head, rows)}\n\nThe CPU may differ by: {limits}. "
        f"Killed with a checkpoint and resumed: {', '.join(resumed) or 'none'}."
    )


def _equality(found: Finding | None) -> str:
    if found is None:
        return ""
    return "equal" if found["equal"] else f"differs: {', '.join(found['differ'])}"


def _distance(found: Finding | None) -> str:
    if found is None:
        return ""
    loss = f"loss {found['loss']:.1%}, " if "loss" in found else ""
    text = f"{loss}test loss {found['nll']:.3f}, accuracy {100 * found['overall']:.1f}"
    return text if found["within"] else f"too far: {text}"


def _waits(found: Sequence[Finding]) -> str:
    lines = []
    for each in _of(found, "waits"):
        for name, text in (("places", "waits"), ("no_deterministic_form", "no deterministic form")):
            for place, times in each[name].items():
                lines.append(f"- {each['method']}: {text}: {place}, {times} times")
    if not lines:
        return "## Waits within a step\n\nNone." if _of(found, "waits") else ""
    return "## Waits within a step, and operations without a deterministic form\n\n" + "\n".join(lines)


def _steps(found: Sequence[Finding]) -> str:
    peak = _of(found, "bf16 peak")
    rows = [
        [
            *(each["backbone"], str(each["size"]), str(each["batch"]), each["method"], each["precision"]),
            "compiled" if each["compile"] else "eager",
            "{} / {}".format(*each["passes"]),
            *(f"{each['floor_ms']:.2f}", f"{each['over_floor']:.2f}", f"{each['images_per_second']:,.0f}"),
            *(f"{each['share_of_peak']:.1%}", "" if each["memory"] is None else f"{each['memory'] / 2**20:,.0f}"),
        ]
        for each in _of(found, "step")
    ]
    if not rows:
        return ""
    head = ["backbone", "px", "batch", "method", "precision", "", "forward / backward", "floor, ms", "step / floor"]
    head += ["images/s", "of the bf16 peak", "MiB"]
    tflops = f"{peak[0]['tflops']:.3g}" if peak else "?"
    return f"## Steps\n\nbf16 peak: {tflops} TFLOP/s, measured by a product of two matrices.\n\n{_table(head, rows)}"


def _jobs(found: Sequence[Finding]) -> str:
    rows = [
        [str(each["jobs"]), f"{each['runs']} of {each['asked']}", f"{each['per_hour']:,.0f}", f"{each['busy']:.0%}"]
        for each in sorted(_of(found, "runs per hour"), key=lambda each: each["jobs"])
    ]
    head = ["runs at a time", "finished", "runs per hour", "workers busy"]
    return f"## Runs per hour\n\n{_table(head, rows)}" if rows else ""


def _loader(found: Sequence[Finding]) -> str:
    rows = [
        [each["method"], each["backbone"], str(each["size"]), str(each["batch"]), str(each["workers"])]
        + [f"{each['ratios'][part]:.2f}" for part in ("training", "epoch", "test only")]
        for each in _of(found, "plain loop")
    ]
    head = ["method", "backbone", "px", "batch", "loader workers", "training", "epoch", "epoch, test only"]
    return f"## Plain loop over harness, time\n\n{_table(head, rows)}" if rows else ""


def _paper(found: Sequence[Finding]) -> str:
    rows = [
        [each["method"], f"{each['noise']:g}", f"{100 * each['overall']:.1f}", f"{each['seconds']:.0f}"]
        for each in _of(found, "paper run")
    ]
    ends = _of(found, "paper")
    images = ends[0]["faces"] if ends else "stopped"
    weights = "given weights" if ends and ends[0]["weights"] else "random weights"
    head = ["method", "noise", "accuracy, %", "seconds"]
    return f"## LA-Net, Table 1, shortened: {images}, {weights}\n\n{_table(head, rows)}" if rows else ""


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def main(out: Path) -> None:
    """Writes ``summary.md`` beside the findings."""
    (out / "summary.md").write_text(markdown(read(out)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
