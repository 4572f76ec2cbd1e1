"""The stored figures as Markdown tables. Ratios are of processor time, which a busy machine moves least; where other
processes take part there is only the wall clock, and the heading says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.speed.plan import WHOLE_GOAL, goal

Figures = Mapping[str, Mapping[str, Any]]


def markdown(figures: Figures) -> str:
    """All tables, and lines for single figures; a part without figures is left out."""
    parts = [_steps(figures), _whole(figures), _peers(figures), _evaluations(figures), _ways(figures), _lines(figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _steps(figures: Figures) -> str:
    rows = []
    for name, figure in figures.items():
        if not name.startswith("step "):
            continue
        _, method, backbone, size, _, _, batch = name.split()
        ratios, limit = figure["ratios"]["cpu"], goal(backbone, int(size))
        verdict = "" if limit is None else f"{limit:g} {'met' if ratios['step'] <= limit else 'missed'}"
        passes = "{} / {}".format(*figure["passes"])
        shown = [f"{1000 * figure['floor']['cpu']:.1f}", f"{ratios['step']:.3f}", verdict]
        shares = [f"{100 * ratios[part]:.1f}" for part in ("views", "evaluation")]
        rows.append([backbone, size, batch, method, passes, *shown, *shares])
    head = ["backbone", "px", "batch", "method", "forward / backward", "floor, ms", "step / floor", "goal"]
    return _table([*head, "views, % of floor", "evaluation, % of training"], rows)


def _whole(figures: Figures) -> str:
    rows = []
    for name, figure in figures.items():
        if name.startswith("training "):
            ratio, work = figure["ratio"], figure["work"]
            own = ratio / max(work, 1.0)
            passes = "{:.1f} / {:.1f}".format(*figure["passes"])
            verdict = f"{WHOLE_GOAL:g} {'met' if own <= WHOLE_GOAL else 'missed'}"
            rows.append([name.split()[1], passes, f"{ratio:.2f}", f"{work:.2f}", f"{own:.2f}", verdict])
    head = ["method", "forward / backward", "training / floor", "layers / floor", "training / layers", "goal"]
    return _table(head, rows)


def _peers(figures: Figures) -> str:
    rows = []
    for name, figure in figures.items():
        if not name.startswith("plain loop "):
            continue
        _, _, method, backbone, size, _, _, batch, _, workers = name.split()
        clock = "cpu" if workers == "0" else "wall"
        ratios = figure["plain_over_harness"][clock]
        shown = [f"{ratios[part]:.2f}" for part in ("training", "epoch", "test only")]
        rows.append([method, backbone, size, batch, workers, "processor" if clock == "cpu" else clock, *shown])
    head = ["method", "backbone", "px", "batch", "loader workers", "clock", "training", "epoch", "epoch, test only"]
    return _table(head, rows)


def _evaluations(figures: Figures) -> str:
    rows = []
    for name, figure in figures.items():
        if not name.startswith("evaluation "):
            continue
        images = {"training": figure["trained"], "matrix product": 1}
        for way, times in figure.items():
            if isinstance(times, Mapping) and "cpu" in times:
                count = images.get(way, figure["evaluated"])
                operations = figure["operations"].get(way, figure["operations"]["evaluation"])
                rate = f"{count * operations / times['cpu'] / 1e9:.0f}"
                rows.append([name.removeprefix("evaluation "), way, f"{1000 * times['cpu'] / count:.3f}", rate])
    return _table(["network", "what", "ms for an image (or the product), processor time", "GFLOP/s"], rows)


def _ways(figures: Figures) -> str:
    rows = [
        [name, way, f"{1000 * times['cpu']:.1f}"]
        for name, figure in figures.items()
        if name.startswith(("augmentation", "flip pair"))
        for way, times in figure.items()
        if isinstance(times, Mapping) and "cpu" in times
    ]
    return _table(["what", "way", "ms, processor time"], rows)


def _lines(figures: Figures) -> str:
    lines = []
    for name, figure in figures.items():
        if name.startswith("two jobs"):
            rates = ", ".join(f"{way}: {rate:.0f} images/s" for way, rate in figure["images_per_second"].items())
            lines.append(f"- {name}: {rates}; gain {figure['gain']:.2f} (wall clock)")
        elif name.startswith("memory"):
            run, floor = (figure[part] / 2**20 for part in ("run", "floor"))
            more = figure["above_floor_per_cached"]
            lines.append(f"- {name}: run {run:.0f} MiB, floor {floor:.0f} MiB; above it {more:.2f} x the cached images")
        elif name == "first step":
            several = f"{figure['samples']} starts, the slowest {figure['slowest']:.1f} s"
            lines.append(f"- from process start to the first step: {figure['wall']:.1f} s (wall clock; {several})")
        elif name.startswith("300,000"):
            grown = figure["grown_bytes"] / 2**20
            lines.append(f"- {name}: first step after {figure['wall']:.1f} s (wall clock), {grown:.0f} MiB more memory")
        elif name.startswith("evaluation"):
            share, unequal = 100 * figure["share_by_operations"], figure["unequal"]
            equal = f"logits differ in batches of {unequal}" if unequal else "logits are equal in every size of batch"
            lines.append(f"- {name}: {share:.1f} % of the operations of training; {equal}")
        elif name.startswith("flip pair"):
            lines.append(f"- {name}: largest relative difference of a gradient {figure['gradient_difference']:.1e}")
    return "\n".join(lines)


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
