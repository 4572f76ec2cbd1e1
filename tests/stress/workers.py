"""Several processes train one sweep in one folder while they are killed, stopped and continued; each run is done once.

    python -m tests.stress.workers --workers 3 --faults 12 --seed 0 [--to workers.json]

Every worker is the whole command. Faults are drawn for workers that train a run: SIGKILL of a worker's group, which is
started again, or SIGSTOP of it, which lasts longer than the lease, so that its runs are taken over, before SIGCONT lets
it find out. In the end each run has one result, which was never replaced and has the numbers of a sweep in peace; exit
code 1 if not.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from fer_bench.launch import local
from fer_bench.store.lease import owner_of
from tests.stress import common

LEASE = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--faults", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default=",".join(common.METHODS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--to", type=Path, default=Path("workers.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report = stress(options, Path(temporary))
    options.to.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    sys.exit(bool(report["wrong"]))


def stress(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    chance, methods = random.Random(options.seed), options.methods.split(",")
    table, cache, out = common.draw_faces(folder / "faces"), folder / "cache", folder / "out"
    out.mkdir()

    def launch(out: Path, number: int):  # type: ignore[no-untyped-def]
        words = common.words(table, out, methods, options.epochs, 1)
        return common.start(words, cache, folder / f"log-{number}.txt", (__file__, "--worker"))

    began = time.monotonic()
    if launch(folder / "peace", 0).wait():
        sys.exit((folder / "log-0.txt").read_text())
    whole = time.monotonic() - began
    print(f"in peace: {whole:.0f} s", flush=True)
    workers = {number: launch(out, number) for number in range(1, options.workers + 1)}
    stopped: dict[int, float] = {}
    published: dict[str, set[tuple[int, int]]] = {}
    faults: Counter[str] = Counter()
    wrong: list[str] = []
    due = time.monotonic() + chance.uniform(0, 0.1 * whole)
    while any(worker.poll() is None for worker in workers.values()):
        for path in out.glob("runs/*/*/*/final.json"):
            stat = path.stat()
            published.setdefault(f"{path.parent.parent.name}/{path.parent.name}", set()).add(
                (stat.st_ino, stat.st_mtime_ns)
            )
        now = time.monotonic()
        for number in [number for number, until in stopped.items() if now > until]:
            os.killpg(workers[number].pid, signal.SIGCONT)
            del stopped[number]
        training = [n for n, worker in workers.items() if n not in stopped and worker.pid in owners(out)]
        if training and now > due and faults.total() < options.faults:
            number, fault = chance.choice(training), chance.choice(("SIGKILL", "SIGSTOP"))
            os.killpg(workers[number].pid, getattr(signal, fault))
            faults[fault] += 1
            print(f"{fault} of worker {number}, {len(published)} runs finished", flush=True)
            if fault == "SIGSTOP":
                stopped[number] = now + chance.uniform(1, 3) * LEASE
            else:
                workers[number].wait()
                workers[number] = launch(out, number)
            due = now + chance.uniform(0, 2 * whole / options.faults)
        time.sleep(0.05)
    logs = {number: (folder / f"log-{number}.txt").read_text() for number in workers}
    wrong += [f"worker {number}: exit code {worker.returncode}: {logs[number][-2000:]}"
              for number, worker in workers.items() if worker.returncode]  # fmt: skip
    wrong += [f"{run} was published {len(found)} times" for run, found in published.items() if len(found) > 1]
    wrong += common.differences(common.results(folder / "peace"), common.results(out))
    wrong += [f"{each} is left" for each in common.leftovers(out / "runs")]
    return {
        "workers": options.workers,
        "faults": dict(faults),
        "runs": len(common.results(out)),
        "waited for another worker": sum(log.count(": waiting, ") for log in logs.values()),
        "found out that they were replaced": sum(log.count(" was taken over by ") for log in logs.values()),
        "wrong": wrong,
    }


def owners(out: Path) -> set[int]:
    """The process groups that hold a run."""
    found = set()
    for claim in out.glob("runs/*/*/*/claim"):
        owner = owner_of(claim.parent)
        if owner and owner.process:
            with suppress(ProcessLookupError):
                found.add(os.getpgid(owner.process["pid"]))
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        from fer_bench.cli.main import main as command

        local.train_all = functools.partial(local.train_all, lease=LEASE)
        command(sys.argv[2:])
    else:
        main()
