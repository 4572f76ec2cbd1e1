"""A Ray cluster of three nodes on this machine, one of which is killed while it trains. Not part of the test suite.

    pip install 'fer-bench[ray]'
    python -m tests.stress.cluster

Checks that every run finished, that a run of the lost node began again where it had stopped, and that every number is
that of the local pool.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from tests.helpers.commands import numbers

REQUEST = ("run", "--methods", "ce,crt", "--noise", "0.2", "--seeds", "0,1", "--epochs", "5", "--train-size", "350",
           "--image-size", "32")  # fmt: skip
CLI = (sys.executable, "-m", "fer_bench.cli")


def main() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as scratch:
        local, remote = Path(scratch) / "local", Path(scratch) / "ray"
        subprocess.run([*CLI, *REQUEST, "--out", str(local), "--jobs", "1"], check=True, capture_output=True)
        # the head has no core, so that it trains nothing and can outlive the others
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        print(f"{len(nodes) + 1} nodes at {cluster.address}", flush=True)
        options = ("--launcher", "ray", "--launcher-option", f"address={cluster.address}")
        with (Path(scratch) / "output").open("w") as output:
            sweep = subprocess.Popen([*CLI, *REQUEST, "--out", str(remote), *options], stdout=output, stderr=output)
        halted: dict[str, int] = {}
        while not halted and sweep.poll() is None:
            time.sleep(0.05)
            halted = {key: len(epochs) for key, epochs in numbers(remote).items() if len(epochs) < 5}
        cluster.remove_node(nodes[0], allow_graceful=False)
        print(f"one node killed; finished epochs: {halted}", flush=True)
        cluster.add_node(num_cpus=1)
        code = sweep.wait(timeout=1500)
        print((Path(scratch) / "output").read_text())
        cluster.shutdown()
        assert code == 0, f"the sweep ended with {code}"
        assert numbers(remote) == numbers(local), "Ray and the local pool gave different numbers"
        finals = [json.loads(path.read_text()) for path in remote.glob("runs/*/*/*/final.json")]
        assert len(finals) == 4 and not list(remote.rglob("checkpoint.pt"))
        print("4 runs, every number as with the local pool")


if __name__ == "__main__":
    main()
