"""A sweep of short runs on a Ray cluster of two nodes on this machine: how busy are its workers? Not in the test suite.

    pip install 'fer-bench[ray]'
    python -m tests.stress.busy_cluster --runs 1000 [--cores 1] [--to busy.json]

A worker is busy from the first file of a run to its last; what lies between two runs (the next task, its plan, the
claim) and what follows the last run of a worker is not. Exit code 1 if a run failed or workers were busy for less than
nine tenths of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ray.cluster_utils import Cluster

from benchmarks.gpu.sweeps import pace

GOAL = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--cores", type=int, default=1, help="of each of the two nodes, and workers")
    parser.add_argument("--train-size", type=int, default=700)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--to", type=Path, default=Path("busy.json"))
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(options, Path(scratch))
    options.to.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    sys.exit(report["finished"] != options.runs or report["busy"] < GOAL)


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, float]:
    # the head trains nothing: it is the machine that people log in to
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=options.cores)
    cluster.wait_for_nodes()
    words = ["run", "--methods", "ce", "--noise", "0.2", "--seeds", ",".join(map(str, range(options.runs)))]
    words += ["--train-size", str(options.train_size), "--epochs", str(options.epochs), "--out", str(scratch / "out")]
    words += ["--launcher", "ray", "--launcher-option", f"address={cluster.address}"]
    subprocess.run([sys.executable, "-m", "fer_bench.cli", *words], stdout=sys.stderr, check=False)
    cluster.shutdown()
    found = pace(scratch / "out", workers=2 * options.cores)
    return {
        "runs": options.runs,
        "finished": found.runs,
        "seconds": found.seconds,
        "runs per hour": found.per_hour,
        "busy": found.busy,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count() or 1,
    }


if __name__ == "__main__":
    main()
