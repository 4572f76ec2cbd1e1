"""What a person sees while a sweep works: a line for each run in progress, how many are done, and the time left."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from fer_bench.sweep.plan import Planned


class Display:
    """Shows a sweep of ``runs`` on ``console``. On something that is not a terminal it prints one line per run.

    ``expected`` is the estimate in seconds of the whole; it is corrected by what was measured as the work goes on. None
    where nothing is known of the machines that work.
    """

    def __init__(self, console: Console, runs: list[Planned], expected: float | None) -> None:
        self.console, self.expected = console, expected
        self.total = sum(run.cost for run in runs)
        self.done_cost = 0.0
        self.partial: dict[int, float] = {}
        self.started = time.monotonic()
        self.failed = 0
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self.overall = self.progress.add_task("all runs", total=len(runs), detail=f"0 of {len(runs)} runs")
        self.lines: dict[int, Any] = {}
        self.count, self.finished = len(runs), 0
        self.said: set[str] = set()

    def __enter__(self) -> Display:
        self.progress.start()
        self._update_overall()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def tell(self, worker: int, run: Planned, event: dict[str, Any]) -> None:
        """Takes one event of ``fer_bench.launch.local.train_all``."""
        if event["state"] == "progress":
            self._show(worker, run, event)
        elif event["state"] == "stopping":
            self._say_once("stopping at the next step; a second time: at once")
        elif event["state"] == "busy":
            self._wait(worker, run, event)
        else:
            self._close(worker, run, event)
        self._update_overall()

    def _wait(self, worker: int, run: Planned, event: dict[str, Any]) -> None:
        """A run in the hands of another process, said once for each that holds it."""
        self._drop(worker)
        if event.get("taken_over"):
            self._say_once(f"{run.spec.name}: this worker was silent, and the run was {event['by']}")
        else:
            self._say_once(f"{run.spec.name}: waiting, {event['by']}")

    def _say_once(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.progress.console.print(Text(text, style="yellow"), soft_wrap=True)

    def _drop(self, worker: int) -> None:
        if worker in self.lines:
            self.progress.remove_task(self.lines.pop(worker))
        self.partial.pop(worker, None)

    def _show(self, worker: int, run: Planned, event: dict[str, Any]) -> None:
        steps = max(1, event["steps"])
        self.partial[worker] = run.cost * (event["epoch"] + event["step"] / steps) / event["epochs"]
        if worker not in self.lines:
            self.lines[worker] = self.progress.add_task(run.spec.name, total=event["epochs"] * steps, detail="")
        parts = [f"epoch {min(event['epoch'] + 1, event['epochs'])}/{event['epochs']}"]
        if "loss" in event:
            parts.append(f"loss {event['loss']:.3f}")
        if "overall" in event:
            parts.append(f"test {100 * event['overall']:.1f} %")
        parts.append(f"{event['images_per_second']:,.0f} images/s")
        completed = event["epoch"] * steps + event["step"]
        self.progress.update(self.lines[worker], completed=completed, detail="  ".join(parts))

    def _close(self, worker: int, run: Planned, event: dict[str, Any]) -> None:
        self._drop(worker)
        self.done_cost += run.cost
        self.finished += 1
        line = Text(f"[{self.finished}/{self.count}] ", style="dim")
        line.append(run.spec.name, style="bold")
        if event["state"] == "done":
            final = event["final"]
            line.append(f"  overall {100 * final['test']['overall']:.1f} %  mean {100 * final['test']['mean']:.1f} %")
            line.append(f"  {final['seconds']:.0f} s", style="dim")
        elif event["state"] == "failed":
            self.failed += 1
            line.append(f"  FAILED  {event['error']}", style="red")
        else:
            line.append("  stopped; its finished epochs are kept", style="yellow")
        if not self.console.is_terminal and (left := self._left()):
            line.append(f"  ({left})", style="dim")
        self.progress.console.print(line, soft_wrap=True)
        for note in event.get("notes", ()):
            self.progress.console.print(Text(f"  {note}", style="yellow"), soft_wrap=True)

    def _update_overall(self) -> None:
        detail = f"{self.finished} of {self.count} runs  {self._left()}"
        share = (self.done_cost + sum(self.partial.values())) / self.total if self.total else 1
        self.progress.update(self.overall, completed=share * self.count, detail=detail)

    def _left(self) -> str:
        """The time left: from the estimate at first, from the measured pace once a twentieth is done."""
        share = (self.done_cost + sum(self.partial.values())) / self.total if self.total else 1
        elapsed = time.monotonic() - self.started
        if share <= 0.05 and self.expected is None:
            return ""
        whole = elapsed / share if share > 0.05 else max(self.expected or 0.0, elapsed)
        return "" if share >= 1 else f"{duration(max(0.0, whole - elapsed))} left"


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
