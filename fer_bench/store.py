"""Run folders: one run, one key, one folder. ``final.json`` alone means done.

<out>/runs/<dataset>/<method>/<key>/
    spec.json       what the run is           epochs.jsonl    one record per finished epoch
    env.json        where it ran              checkpoint.pt   state after the last finished epoch, until done
    status.json     failed: why               final.json      the results; written last
    scores.npz      logits, clean scores      probe.npz       logits of some training images after each epoch
    networks.pt     the trained networks, where another run begins with them
    lock            held by the process that trains the run
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import orjson

from fer_bench.files import write_atomically
from fer_bench.spec import RunSpec

if TYPE_CHECKING:
    import numpy as np

STATES = ("new", "running", "interrupted", "failed", "done")


class Busy(Exception):
    """Another process is training this run."""


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes one run's folder. Every file is replaced whole; a claim dies with the process that holds it."""

    path: Path

    @classmethod
    def of(cls, out: Path, spec: RunSpec) -> RunFolder:
        return cls(out / "runs" / _safe(spec.dataset) / spec.method / spec.key)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Holds the run with a kernel lock: no clock, no heartbeat, and free as soon as its owner is dead."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.path / "lock", timeout=0):
                yield
        except filelock.Timeout:
            raise Busy(f"{self.path} is being trained by another process") from None

    @property
    def state(self) -> str:
        """One of STATES; without taking or waiting for the claim of a running process."""
        if (self.path / "final.json").exists():
            return "done"
        if not self.path.exists():
            return "new"
        lock = filelock.FileLock(self.path / "lock", timeout=0)
        try:
            with lock:
                pass
        except filelock.Timeout:
            return "running"
        except OSError:
            pass  # a folder that we may only read
        if self.failure:
            return "failed"
        return "interrupted" if (self.path / "epochs.jsonl").exists() else "new"

    @property
    def failure(self) -> dict[str, Any]:
        """Why the last attempt failed: "error" (one line) and "traceback"; empty if it did not."""
        return self._read("status.json") or {}

    @property
    def final(self) -> dict[str, Any] | None:
        return self._read("final.json")

    @property
    def spec(self) -> dict[str, Any] | None:
        return self._read("spec.json")

    @property
    def environment(self) -> dict[str, Any] | None:
        return self._read("env.json")

    def epochs(self) -> list[dict[str, Any]]:
        """The records of finished epochs, in order."""
        path = self.path / "epochs.jsonl"
        try:
            return [orjson.loads(line) for line in path.read_bytes().splitlines()]
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise RuntimeError(
                f"{path} is damaged: {error}; delete it and checkpoint.pt to train the run again"
            ) from None

    def start(self, spec: RunSpec, environment: dict[str, Any]) -> None:
        """Writes what the run is and where it runs, and forgets an earlier failure."""
        write_atomically(self.path / "spec.json", json.dumps(json.loads(spec.canonical), indent=1).encode())
        write_atomically(self.path / "env.json", _json(environment))
        (self.path / "status.json").unlink(missing_ok=True)

    def save_epochs(self, records: list[dict[str, Any]]) -> None:
        write_atomically(self.path / "epochs.jsonl", b"".join(_json(record) + b"\n" for record in records))

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        import torch

        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.path / "checkpoint.pt", buffer.getvalue())

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint; None where there is none. RuntimeError if it is damaged."""
        return self._load("checkpoint.pt")

    def _load(self, name: str) -> dict[str, Any] | None:
        """What torch stored in a file, read with ``weights_only``; None without the file."""
        import torch

        path = self.path / name
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise RuntimeError(f"{path} is damaged ({error}); delete it to train this run from the start") from error

    def fail(self, error: str, traceback: str) -> None:
        write_atomically(self.path / "status.json", _json({"error": error, "traceback": traceback}))

    def finish(
        self,
        final: dict[str, Any],
        scores: dict[str, np.ndarray],
        probe: dict[str, np.ndarray] | None = None,
        networks: dict[str, Any] | None = None,
    ) -> None:
        """Writes the results, ``final.json`` last, and drops the checkpoint."""
        import numpy as np
        import torch

        for name, arrays in (("scores.npz", scores), ("probe.npz", probe)):
            if arrays is None:
                continue
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
            write_atomically(self.path / name, buffer.getvalue())
        if networks is not None:
            buffer = io.BytesIO()
            torch.save(networks, buffer)
            write_atomically(self.path / "networks.pt", buffer.getvalue())
        write_atomically(self.path / "final.json", _json(final))
        (self.path / "checkpoint.pt").unlink(missing_ok=True)

    def networks(self) -> dict[str, Any] | None:
        """The state of the trained method, if the run is done and kept it."""
        return self._load("networks.pt") if self.final else None

    def probe(self) -> dict[str, np.ndarray]:
        """``rows`` int64 [P] of the training set, ``logits`` float16 [epochs, P, C]: the answers after each epoch."""
        import numpy as np

        with np.load(self.path / "probe.npz", allow_pickle=False) as stored:
            return dict(stored)

    def clear(self) -> None:
        """Forgets everything that was trained (for ``--force``); the caller holds the claim."""
        for name in (
            "final.json",
            "epochs.jsonl",
            "checkpoint.pt",
            "scores.npz",
            "probe.npz",
            "networks.pt",
            "status.json",
        ):
            (self.path / name).unlink(missing_ok=True)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        try:
            return orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RuntimeError(f"{path} is damaged: {error}") from None


def _safe(name: str) -> str:
    """A data set's name as one folder name: a path keeps its last part."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(name).name).strip(".") or "data"


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, sort_keys=True).encode()
