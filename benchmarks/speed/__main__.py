"""Command line of the speed program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.speed.plan import figures
from benchmarks.speed.tables import markdown
from benchmarks.speed.timing import machine
from fer_bench.core.files import write_atomically
from fer_bench.engine.memory import keep_freed_memory


@click.command(
    help="Measures how much time a run takes above the floor of its backbone; see docs/development/speed.md."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/speed"), show_default=True)
@click.option("--quick", is_flag=True, help="A subset of under three minutes on two idle cores.")
@click.option("--only", default="", metavar="WORDS", help="Figures whose name begins so, such as 'plain loop'.")
@click.option("--again", is_flag=True, help="Measures again what is stored.")
def main(out: Path, quick: bool, only: str, again: bool) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a run; the floor and the plain loops gain by it as much
    path = out / "speed.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    plan = {name: work for name, work in figures(quick).items() if name.startswith(only)}
    for number, (name, work) in enumerate(plan.items(), 1):
        if name not in found or again:
            click.echo(f"[{number}/{len(plan)}] {name}", err=True)
            found[name] = {**work(), "machine": machine()}
            write_atomically(path, json.dumps(found, indent=1).encode())
    text = markdown({name: found[name] for name in plan})
    write_atomically(out / "speed.md", text.encode())
    click.echo(text)


if __name__ == "__main__":
    main()
