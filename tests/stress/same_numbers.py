"""Trains every method on a small problem in three ways and compares the records with those of another revision.

    python -m tests.stress.same_numbers train FOLDER     three sweeps: noise 0.4, imbalance 20, noise 0.4 with kills
    python -m tests.stress.same_numbers compare OLD NEW  prints every difference; exit code 1 if there is one

Records are compared as numbers, bit for bit: every epoch, the results, logits, clean scores and probes. Names of fields
that were renamed are in RENAMED, metrics whose rounding changed in SINGLE. Seconds and memory are left out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZE = ("--train-size", "350", "--epochs", "3", "--jobs", "2", "--device", "cpu")
SWEEPS = {"noise": ("--noise", "0.4"), "imbalance": ("--imbalance", "20"), "killed": ("--noise", "0.4")}
METHODS = (
    "balanced_softmax,cb,ce,coteaching,coteaching_plus,crt,dcl,decoupling,dmue,eac,face2exp,jocor,lanet,man,mek,"
    "mentornet,nla,rul,scn"
)
LEFT_OUT = ("seconds", "peak_memory_bytes", "splits", "labels")
"""Times, memory, and fields that records did not always have."""
RENAMED = {
    "fit_given": "fit_noisy",
    "fit_true": "fit_clean",
    "true_counts": "clean_counts",
    "told_noise_rate": "uses_noise_rate",
    "observed_imbalance": "noisy_imbalance",
    "observed_counts": "noisy_counts",
    "given": "noisy_label",
    "true": "clean_label",
}
"""Old name of a field in the records: new name."""
SINGLE = (".macro_f1", ".ece", ".auroc", ".ap")
"""Metrics that were computed in float32 until torchmetrics was replaced, and are computed in float64 since."""
ROUNDING = 2e-6
"""The largest difference that float32 makes to one of SINGLE."""


def train(folder: Path) -> None:
    """Trains all three sweeps; a run of the sweep "killed" is killed once, after its first epoch."""
    for name, options in SWEEPS.items():
        words = ("run", "--methods", METHODS, *SIZE, *options, "--out", str(folder / name))
        killed: set[Path] = set()
        code = -1
        while code < 0:
            process = subprocess.Popen(
                [sys.executable, "-m", "fer_bench.cli", *words], start_new_session=True, stdout=subprocess.DEVNULL
            )
            while name == "killed" and process.poll() is None:
                time.sleep(0.02)
                begun = {path.parent for path in (folder / name).glob("runs/*/*/*/checkpoint.pt")} - killed
                if begun:
                    killed |= begun
                    os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        print(f"{name}: exit {code}, {len(killed)} runs killed", flush=True)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested objects and lists with their dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in LEFT_OUT:
                yield from leaves(inner, f"{name}.{RENAMED.get(key, key)}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from leaves(inner, f"{name}[{position}]")
    else:
        yield name, value


def records(folder: Path) -> dict[str, Any]:
    """All numbers of a finished run by name."""
    found = dict(leaves(json.loads((folder / "final.json").read_bytes()), "final"))
    for number, line in enumerate((folder / "epochs.jsonl").read_text().splitlines()):
        found |= dict(leaves(json.loads(line), f"epoch {number}"))
    for file in ("scores", "probe"):
        with np.load(folder / f"{file}.npz") as arrays:
            found |= {f"{file}.{RENAMED.get(name, name)}": arrays[name] for name in arrays.files}
    return found


def compare(old: Path, new: Path) -> int:
    """Prints what differs between two folders of :func:`train`; the number of runs with a difference."""
    wrong = compared = 0
    for sweep in SWEEPS:
        for before in sorted((old / sweep).glob("runs/*/*/*/final.json")):
            method = before.parent.parent.name
            after = list((new / sweep).glob(f"runs/*/{method}/*/final.json"))
            if len(after) != 1:
                print(f"{sweep} {method}: {len(after)} runs in {new}")
                wrong += 1
                continue
            a, b = records(before.parent), records(after[0].parent)
            bad = [name for name in sorted(a.keys() | b.keys()) if not same(name, a.get(name), b.get(name))]
            compared += 1
            wrong += bool(bad)
            for name in bad[:8]:
                print(f"{sweep} {method} {name}: {str(a.get(name))[:60]} | {str(b.get(name))[:60]}")
    print(f"{compared} runs compared, {wrong} differ")
    return wrong


def same(name: str, a: Any, b: Any) -> bool:
    if name.endswith(SINGLE) and isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= ROUNDING
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.tobytes() == b.tobytes()
        )
    return a == b


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(Path(sys.argv[2]))
    else:
        sys.exit(bool(compare(Path(sys.argv[2]), Path(sys.argv[3]))))
