"""Kills the command with SIGKILL at random moments until every method has finished, and compares with a run in peace.

    python -m tests.stress.kills --kills 40 --seed 0 [--fork] [--methods ce,crt] [--folder FOLDER] [--to kills.json]

Half of the kills come at a moment drawn from the life of a call; the others when a file that is written at a delicate
moment is seen: a part of the decoded images, of a checkpoint, of the results, of tables or plots, or a claim. With
--fork a call is a copy of this process and trains in itself, so that no kill is spent on imports. Every round has its
own cache and store, and goes on until its sweep is finished and tabled; exit code 1 if any number of any round differs
from that of an uninterrupted sweep, or something is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fer_bench.store.lease import owner_of
from tests.stress import common

RUN = "runs/*/*/*/"
MOMENTS = {
    "decoding images": ("cache", "*/images-*.part"),
    "claiming": ("out", RUN + ".claim-*"),
    "writing epochs": ("out", RUN + "claim/*/.epochs.jsonl.*.part"),
    "writing a checkpoint": ("out", RUN + "claim/*/.checkpoint.pt.*.part"),
    "writing scores": ("out", RUN + "claim/*/.scores.npz.*.part"),
    "writing final.json": ("out", RUN + "claim/*/.final.json.*.part"),
    "between sums and final.json": ("out", RUN + "sums.json"),
    "writing sweep.json": ("out", "sweeps/*/.sweep.json.*.part"),
    "writing tables": ("out", "sweeps/*/.table*.part"),
    "writing plots": ("out", "sweeps/*/plots/.*.part"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default=",".join(common.METHODS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fork", action="store_true", help="many more kills in the same time; no worker processes")
    parser.add_argument("--folder", type=Path, help="an empty folder for everything [default: a temporary one]")
    parser.add_argument("--to", type=Path, default=Path("kills.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report = stress(options, options.folder or Path(temporary))
    options.to.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: value for name, value in report.items() if name != "each"}, indent=1))
    sys.exit(bool(report["wrong"]))


def stress(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    chance, methods = random.Random(options.seed), options.methods.split(",")
    table = common.draw_faces(folder / "faces")
    words = common.words(table, folder / "peace", methods, options.epochs, options.jobs)
    begin = common.Forked if options.fork else common.start
    began = time.monotonic()
    whole = begin(words, folder / "peace-cache", folder / "peace.log")
    while not list((folder / "peace").glob("runs/*/*/*/epochs.jsonl")) and whole.poll() is None:
        time.sleep(0.02)
    first_epoch = time.monotonic() - began
    if whole.wait():
        sys.exit((folder / "peace.log").read_text())
    expected = common.results(folder / "peace")
    print(f"in peace: {len(expected)} runs in {time.monotonic() - began:.0f} s, {first_epoch:.0f} s to the first epoch")
    killed: list[dict[str, object]] = []
    wrong: list[str] = []
    rounds = 0
    while len(killed) < options.kills:
        rounds += 1
        place = folder / f"round-{rounds}"
        out, cache = place / "out", place / "cache"
        out.mkdir(parents=True)
        words[words.index("--out") + 1] = str(out)
        while True:
            process = begin(words, cache, place / "log.txt")
            if len(killed) < options.kills and (moment := wait_for_moment(process, chance, out, cache, first_epoch)):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed.append({"round": rounds, "moment": moment, **state(out)})
                print(f"kill {len(killed)}: {killed[-1]}", flush=True)
                continue
            if process.wait():
                wrong.append(
                    f"round {rounds}: exit code {process.returncode}: {(place / 'log.txt').read_text()[-2000:]}"
                )
            break
        wrong += [f"round {rounds}: {each}" for each in common.differences(expected, common.results(out))]
        wrong += [
            f"round {rounds}: {each} is left" for each in (*common.leftovers(out / "runs"), *common.leftovers(cache))
        ]
        if not list(out.glob("sweeps/*/plots/drawn.json")):
            wrong.append(f"round {rounds}: no plots")
        print(f"round {rounds} is finished; {len(wrong)} differences", flush=True)
    return {
        "methods": len(methods),
        "rounds": rounds,
        "runs compared": rounds * len(expected),
        "kills": len(killed),
        "moments": dict(Counter(str(each["moment"]) for each in killed)),
        "methods killed in training": dict(Counter(each for kill in killed for each in kill["training"])),  # type: ignore[attr-defined]
        "wrong": wrong,
        "each": killed,
    }


def wait_for_moment(process, chance: random.Random, out: Path, cache: Path, first_epoch: float) -> str:  # type: ignore[no-untyped-def]
    """Waits for the moment of the next kill and says which it is; "" where the process ended before."""
    until = time.monotonic() + chance.uniform(0, 2.5 * first_epoch)
    aim = chance.choice([None] * len(MOMENTS) + list(MOMENTS))
    if aim is not None:
        until += 2 * first_epoch
        where, pattern = MOMENTS[aim]
        root = {"out": out, "cache": cache}[where]
        before = set(root.glob(pattern))
    while process.poll() is None:
        if aim is not None and set(root.glob(pattern)) - before:
            return aim
        if time.monotonic() > until:
            return "any"
        time.sleep(0.001 if aim else 0.02)
    return ""


def state(out: Path) -> dict[str, object]:
    """What the kill met: the methods in training, and how many runs were finished."""
    folders = [path.parent for path in out.glob("runs/*/*/*/claim")]
    training = [folder.parent.name for folder in folders if owner_of(folder) and not (folder / "final.json").exists()]
    return {"training": training, "finished": len(list(out.glob("runs/*/*/*/final.json")))}


if __name__ == "__main__":
    main()
