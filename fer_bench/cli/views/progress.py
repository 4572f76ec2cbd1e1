"""What a person sees while a sweep trains: a line for each run in progress, how many are done, and the time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.status import Status
from rich.text import Text

from fer_bench.launch import progress as events
from fer_bench.launch.progress import ProgressEvent, duration


class Display:
    """Shows the events of one sweep on ``console``. On something that is not a terminal it prints a line per run.

    A display is the ``on_event`` of a sweep, within ``with``.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._overall: TaskID | None = None
        self._lines: dict[int, TaskID] = {}
        self._writing: Status | None = None
        self._said: set[str] = set()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        if self._writing is not None:
            self._writing.stop()

    def __call__(self, event: ProgressEvent) -> None:
        """Shows one event."""
        if event.state == "absent":
            self.console.print(Text(events.absent_runs(**event.details)), soft_wrap=True)
        elif event.state == "training":
            self._overall = self._progress.add_task("all runs", total=event.progress.count, detail="")
            self._progress.start()
        elif event.state == "writing":
            self._progress.stop()
            self._writing = self.console.status("writing tables and plots …")
            self._writing.start()
        elif event.state == "progress":
            self._show(event)
        elif event.state == "stopping":
            self._say_once("stopping at the next step; interrupt again to stop at once")
        elif event.state == "busy":
            self._wait(event)
        else:
            self._close(event)
        self._update_overall(event.progress)

    def _wait(self, event: ProgressEvent) -> None:
        """A run that another process trains, said once for each process."""
        assert event.run is not None
        self._drop(event.worker)
        name, by = event.run.name, event.details["by"]
        if event.details.get("taken_over"):
            self._say_once(f"{name}: this worker did not respond, and the run was {by}")
        else:
            self._say_once(f"{name}: waiting, {by}")

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._progress.console.print(Text(text, style="yellow"), soft_wrap=True)

    def _drop(self, worker: int) -> None:
        if worker in self._lines:
            self._progress.remove_task(self._lines.pop(worker))

    def _show(self, event: ProgressEvent) -> None:
        assert event.run is not None
        at, worker = event.details, event.worker
        steps = max(1, at["steps"])
        if worker not in self._lines:
            self._lines[worker] = self._progress.add_task(event.run.name, total=at["epochs"] * steps, detail="")
        parts = [f"epoch {min(at['epoch'] + 1, at['epochs'])}/{at['epochs']}"]
        if "loss" in at:
            parts.append(f"loss {at['loss']:.3f}")
        if "overall" in at:
            parts.append(f"test {100 * at['overall']:.1f} %")
        parts.append(f"{at['images_per_second']:,.0f} images/s")
        completed = at["epoch"] * steps + at["step"]
        self._progress.update(self._lines[worker], completed=completed, detail="  ".join(parts))

    def _close(self, event: ProgressEvent) -> None:
        assert event.run is not None
        self._drop(event.worker)
        line = Text(f"[{event.progress.finished}/{event.progress.count}] ", style="dim")
        line.append(event.run.name, style="bold")
        if event.state == "done":
            line.append(f"  {event.summary}")
            line.append(f"  {event.details['final']['seconds']:.0f} s", style="dim")
        elif event.state == "failed":
            line.append(f"  FAILED  {event.details['error']}", style="red")
        else:
            line.append(f"  {event.summary}", style="yellow")
        if not self.console.is_terminal and (left := _left(event.progress)):
            line.append(f"  ({left})", style="dim")
        self._progress.console.print(line, soft_wrap=True)
        for note in event.details.get("notes", ()):
            self._progress.console.print(Text(f"  {note}", style="yellow"), soft_wrap=True)

    def _update_overall(self, progress: events.Progress) -> None:
        if self._overall is not None:
            detail = f"{progress.finished} of {progress.count} runs  {_left(progress)}"
            self._progress.update(self._overall, completed=progress.share * progress.count, detail=detail)


def _left(progress: events.Progress) -> str:
    return "" if progress.seconds_left is None else f"{duration(progress.seconds_left)} left"
