"""Run folders: one run, one key, one folder. ``final.json`` alone means done.

<out>/runs/<dataset>/<method>/<key>/
    spec.json       what the run is           epochs.jsonl    one record per finished epoch
    env.json        where it ran              checkpoint.pt   state after the last finished epoch, until done
    status.json     failed: why               final.json      the results; written last
    scores.npz      logits, clean scores      probe.npz       logits of some training images after each epoch
    networks.pt     the trained networks, where another run begins with them
    sums.json       sha256 of the results, final.json included; written just before it
    claim/          held by the process that trains the run, see fer_bench.store.lease
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import orjson

from fer_bench.core.errors import StoreError
from fer_bench.core.files import Content, checksum, open_log, write_atomically
from fer_bench.core.spec import RunSpec
from fer_bench.core.text import one_line, visible
from fer_bench.store import lease as claims
from fer_bench.store.lease import Claim

if TYPE_CHECKING:
    import numpy as np

STATES = ("new", "running", "interrupted", "failed", "done")

RESULTS = ("final.json", "sums.json", "scores.npz", "probe.npz", "networks.pt")

SUMMED = ("final.json", "epochs.jsonl", "scores.npz", "probe.npz", "networks.pt")

TRAINING = ("epochs.jsonl", "checkpoint.pt", "status.json")


@dataclass(unsafe_hash=True)
class RunFolder:
    """Reads and writes one run's folder. Every file is replaced whole, and only while the claim stands if it is held.

    What is damaged is never taken for whole: a checkpoint ends in its own sha256, and results are in ``sums.json``.
    """

    path: Path
    notes: list[str] = field(default_factory=list, compare=False, repr=False)
    """What a person should know of this training: files that were damaged and made anew."""
    _claim: Claim | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, out: Path, spec: RunSpec) -> RunFolder:
        return cls(out / "runs" / _safe(spec.dataset) / spec.method / spec.key)

    @contextmanager
    def claim(self, lease: float | None = None) -> Iterator[Claim]:
        """Holds the run; what is written meanwhile raises TakenOver if it is lost. Busy as for ``claims.claim``."""
        self._claim = claims.claim(self.path, lease)
        try:
            yield self._claim
        finally:
            held, self._claim = self._claim, None
            held.release()

    @property
    def state(self) -> str:
        """One of STATES; without taking or waiting for the claim of a running process."""
        if self.final:
            return "done"
        if not self.path.exists():
            return "new"
        owner = claims.owner_of(self.path)
        if owner and owner.seems_alive:
            return "running"
        if self.failure:
            return "failed"
        return "interrupted" if (self.path / "epochs.jsonl").exists() else "new"

    @property
    def failure(self) -> dict[str, Any]:
        """Why the last attempt failed: "error" (one line) and "traceback"; empty if it did not."""
        try:
            failed = self._read("status.json")
        except StoreError as error:
            failed = {"error": str(error), "traceback": ""}
        if not failed and (damage := self.damage):
            failed = {"error": f"{damage}; run the sweep's command again to repeat the run", "traceback": ""}
        return failed or {}

    @property
    def final(self) -> dict[str, Any] | None:
        """The results; None where the run is not done, which a torn or empty file says as well."""
        with suppress(StoreError):
            return self._read("final.json")
        return None

    @property
    def damage(self) -> str:
        """What is wrong with the results of a run that was finished, "" if nothing is. Reads all of them."""
        if not (self.path / "final.json").exists():
            return ""
        try:
            self._read("final.json")
            sums = self._sums()
            for name in SUMMED:  # and no other name in the sums, which may lead anywhere
                # an archive leaves the networks out
                if name in sums and (name != "networks.pt" or (self.path / name).exists()):
                    self._bytes(name)
        except StoreError as damage:
            return str(damage)
        except FileNotFoundError as absent:
            return f"{absent.filename} is missing"
        return ""

    @property
    def spec(self) -> dict[str, Any] | None:
        return self._read("spec.json")

    @property
    def environment(self) -> dict[str, Any] | None:
        return self._read("env.json")

    def epochs(self) -> list[dict[str, Any]]:
        """The records of finished epochs, in order; of a run that is not finished those before any damage.

        StoreError if those of a finished run are damaged.
        """
        try:
            lines = self._bytes("epochs.jsonl").splitlines()
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            try:
                records.append(orjson.loads(line))
            except ValueError as error:
                if self.final:
                    raise StoreError(_damaged(self.path / "epochs.jsonl", error)) from None
                break
        return records

    def start(self, spec: RunSpec, environment: dict[str, Any]) -> None:
        """Writes what the run is and where it runs, and forgets an earlier failure."""
        self._write("spec.json", json.dumps(json.loads(spec.canonical), indent=1).encode())
        self._write("env.json", _json(environment))
        self._discard("status.json")

    def save_epochs(self, records: list[dict[str, Any]]) -> None:
        self._write("epochs.jsonl", b"".join(_json(record) + b"\n" for record in records))

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        import torch

        def write(file: BinaryIO) -> None:
            summed = _Summed(file)
            try:
                torch.save(state, summed)  # type: ignore[arg-type]  # all it asks of a file is to be written to
            except RuntimeError as error:  # a full disk is an OSError only in the context of PyTorch's error
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
            file.write(summed.sum.digest())

        self._write("checkpoint.pt", write)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint; None where there is none, or with a note where it is damaged."""
        try:
            content = (self.path / "checkpoint.pt").read_bytes()
        except FileNotFoundError:
            return None
        content, sum_ = content[:-32], content[-32:]
        try:
            if hashlib.sha256(content).digest() != sum_:
                raise ValueError("its end is missing or its bytes were changed")
            return _load(content)
        except Exception as error:
            self.note(f"checkpoint.pt is damaged ({error}): this run is trained from the start")
            return None

    def open_log(self) -> TextIO:
        """``log.txt``, for appending."""
        return open_log(self.path / "log.txt")

    def note(self, text: str) -> None:
        """Keeps a note of this training, in ``notes`` and as one line of its log."""
        self.notes.append(text)
        with suppress(OSError), self.open_log() as log:
            log.write(f"{one_line(visible(text))}\n")

    def fail(self, error: str, traceback: str) -> None:
        self._write("status.json", _json({"error": error, "traceback": traceback}))

    def finish(
        self,
        final: dict[str, Any],
        scores: dict[str, np.ndarray],
        probe: dict[str, np.ndarray] | None = None,
        networks: dict[str, Any] | None = None,
    ) -> None:
        """Writes the results, ``final.json`` last, and drops the checkpoint."""
        import numpy as np

        files = {}
        for name, arrays in (("scores.npz", scores), ("probe.npz", probe)):
            if arrays is not None:
                buffer = io.BytesIO()
                np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
                files[name] = buffer.getvalue()
        if networks is not None:
            files["networks.pt"] = _stored(networks)
        files["final.json"] = _json(final)
        sums = {name: checksum(content) for name, content in files.items()}
        with suppress(FileNotFoundError):
            sums["epochs.jsonl"] = checksum((self.path / "epochs.jsonl").read_bytes())
        files["sums.json"] = _json(sums)
        for name in reversed(RESULTS):
            if name in files:
                self._write(name, files[name])
        self.tidy()

    def networks(self) -> dict[str, Any] | None:
        """The state of the trained method, if the run is done and kept it; StoreError if it is damaged."""
        if self.final is None or not (self.path / "networks.pt").exists():
            return None
        return _load(self._bytes("networks.pt"))

    def probe(self) -> dict[str, np.ndarray]:
        """``rows`` int64 [P] of the training set, ``logits`` float16 [epochs, P, C]: the answers after each epoch.
        Empty where there are none, StoreError if they are damaged."""
        return self._arrays("probe.npz")

    def scores(self) -> dict[str, np.ndarray]:
        """Logits, labels and clean scores of the trained method; otherwise as :meth:`probe`."""
        return self._arrays("scores.npz")

    @property
    def untidy(self) -> bool:
        """Whether a process was killed here between its last result and the removal of what it needed before."""
        return any((self.path / name).exists() for name in ("checkpoint.pt", "claim"))

    def tidy(self) -> None:
        """Removes what a finished run needs no more; its claim goes when the caller releases its own."""
        self._discard("checkpoint.pt")

    def clear(self) -> None:
        """Forgets everything that was trained (for ``--force``); the caller holds the claim."""
        self.clear_results()
        for name in TRAINING:
            self._discard(name)

    def clear_results(self) -> None:
        """Forgets results that are damaged; a checkpoint, if there is one, is gone on from."""
        for name in RESULTS:
            self._discard(name)

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        import numpy as np

        try:
            with np.load(io.BytesIO(self._bytes(name)), allow_pickle=False) as stored:
                return dict(stored)
        except FileNotFoundError:
            return {}
        except StoreError:
            raise
        except Exception as error:  # numpy, zipfile and zlib have no common error for a damaged file
            raise StoreError(_damaged(self.path / name, error)) from None

    def _read(self, name: str) -> dict[str, Any] | None:
        """A JSON object; None where there is no file, StoreError where it holds something else."""
        try:
            content = orjson.loads(self._bytes(name))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(_damaged(self.path / name, error)) from None
        if not isinstance(content, dict):
            raise StoreError(_damaged(self.path / name, "it is no object"))
        return content

    def _bytes(self, name: str) -> bytes:
        """A file; FileNotFoundError, or StoreError where the results know another sha256 of it."""
        content = (self.path / name).read_bytes()
        if name in SUMMED and name in (sums := self._sums()) and sums[name] != checksum(content):
            raise StoreError(_damaged(self.path / name, "its bytes were changed"))
        return content

    @property
    def summed(self) -> bool:
        """Whether what is read of a finished run is known to be what was written; earlier versions wrote no sums."""
        return bool(self._sums())

    def _sums(self) -> dict[str, str]:
        """sha256 by file of a finished run; empty for one that is not, or was by an earlier version."""
        if not (self.path / "final.json").exists():
            return {}
        try:
            return dict(orjson.loads((self.path / "sums.json").read_bytes()))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            raise StoreError(_damaged(self.path / "sums.json", error)) from None

    def _write(self, name: str, content: Content) -> None:
        write = self._claim.write if self._claim else write_atomically
        write(self.path / name, content)

    def _discard(self, name: str) -> None:
        if self._claim:
            self._claim.discard(self.path / name)
        else:
            (self.path / name).unlink(missing_ok=True)


class _Summed(io.RawIOBase):
    """Passes on what is written, and knows its sha256."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sum = file, hashlib.sha256()

    def write(self, part: Any) -> int:
        self.sum.update(part)
        return self.file.write(part)


def _safe(name: str) -> str:
    """A data set's name as one folder name: a path keeps its last part."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(name).name).strip(".") or "data"


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, sort_keys=True).encode()


def _stored(state: dict[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _load(content: bytes) -> dict[str, Any]:
    """What torch stored, without running code from it."""
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _damaged(path: Path, why: object) -> str:
    return f"{path} is damaged ({why})"
