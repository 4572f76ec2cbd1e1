"""Run folders: one run, one key, one folder. ``final.json`` alone means done.

<out>/runs/<dataset>/<method>/<key>/
    spec.json       what the run is           epochs.jsonl    one record for each finished epoch
    env.json        where it ran              checkpoint.pt   state after the last finished epoch, until done
    status.json     failed: why               final.json      the results; written last
    scores.npz      logits, clean scores      probe.npz       logits of some training images after each epoch
    model.safetensors   the trained method, where it was asked for or another run starts from it
    sums.json       sha256 of the results, final.json included; written just before it
    log.txt         messages and what the method printed
    claim/          held by the process that trains the run, see fer_bench.store.lease

The key is a hash of ``spec.json``. A folder whose specification has another key is damaged.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import orjson

from fer_bench.core.errors import StoreError
from fer_bench.core.files import Content, checksum, open_log, parse_json, write_atomically
from fer_bench.core.spec import RunSpec, key_of
from fer_bench.core.text import one_line, visible
from fer_bench.store.lease import Claim, claim_folder, owner_of
from fer_bench.store.torch_files import StoredModel, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    import numpy as np

MODEL = "model.safetensors"

RESULTS = ("final.json", "sums.json", "scores.npz", "probe.npz", MODEL)

SUMMED = ("final.json", "epochs.jsonl", "scores.npz", "probe.npz", MODEL)

TRAINING = ("epochs.jsonl", "checkpoint.pt", "status.json")

REPEAT = "run the sweep's command again to repeat the run"


@dataclass(unsafe_hash=True)
class RunFolder:
    """Reads and writes the folder of one run.

    Every file is replaced whole, and only while the claim stands if it is held. Damaged files are never used: a
    checkpoint ends in its own sha256, results are in ``sums.json``, and the key is the hash of the specification.

    Attributes:
        path: The folder; it need not exist.
        notes: What a person should know of this training: files that were damaged and written again.
    """

    path: Path
    notes: list[str] = field(default_factory=list, compare=False, repr=False)
    _claim: Claim | None = field(default=None, compare=False, repr=False)
    _environment: dict[str, Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, out: Path, spec: RunSpec) -> RunFolder:
        """The folder of a run under the folder of results ``out``."""
        return cls(out / "runs" / _safe(spec.dataset) / spec.method / spec.key)

    # --- claiming -------------------------------------------------------------------------------------------------

    @contextmanager
    def claim(self, lease: float | None = None) -> Iterator[Claim]:
        """Holds the run. What is written meanwhile raises TakenOver if the claim is lost.

        Args:
            lease: Seconds without a sign of life after which another owner is replaced; None for the default.

        Raises:
            Busy: Another process holds the run.
        """
        self._claim = claim_folder(self.path, lease)
        try:
            yield self._claim
        finally:
            held, self._claim = self._claim, None
            held.release()

    # --- state ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of "new", "running", "interrupted", "failed" and "done". Claims nothing."""
        if self.final:
            return "done"
        if not self.path.exists():
            return "new"
        owner = owner_of(self.path)
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
            failed = {"error": f"{damage}; {REPEAT}", "traceback": ""}
        return failed or {}

    @property
    def damage(self) -> str:
        """What is wrong with a run that was finished, "" if nothing is. Reads all of its results."""
        if not (self.path / "final.json").exists():
            return ""
        try:
            if wrong := identity_error(self.path, self.spec):
                return wrong
            self._read("final.json")
            for name in self._sums().keys() & set(SUMMED):  # the sums may name any other file
                # an archive leaves the model out
                if name != MODEL or (self.path / name).exists():
                    self._bytes(name)
        except StoreError as damage:
            return str(damage)
        except FileNotFoundError as absent:
            return f"{absent.filename} is missing"
        return ""

    @property
    def untidy(self) -> bool:
        """Whether a process was killed between its last result and the removal of what it needed before."""
        return any((self.path / name).exists() for name in ("checkpoint.pt", "claim"))

    # --- reading --------------------------------------------------------------------------------------------------

    @property
    def final(self) -> dict[str, Any] | None:
        """The results; None if the run is not done, or the file is damaged."""
        with suppress(StoreError):
            return self._read("final.json")
        return None

    @property
    def spec(self) -> dict[str, Any] | None:
        """The specification as it is stored; None if there is none. StoreError if it is damaged."""
        return self._read("spec.json")

    @property
    def environment(self) -> dict[str, Any] | None:
        """Where the run was trained; None if that is not stored. StoreError if it is damaged.

        The fields are those of the attempt that trained the first epoch. ``resumed`` holds the fields of each later
        attempt, in order. ``first_epoch`` of an attempt is the first epoch that it trained.
        """
        return self._read("env.json")

    def epochs(self) -> list[dict[str, Any]]:
        """The records of finished epochs, in order; of an unfinished run those before any damage.

        Raises:
            StoreError: The records of a finished run are damaged.
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

    def probe(self) -> dict[str, np.ndarray]:
        """``rows`` int64 [P] of the training set, and their ``logits`` float16 [epochs, P, C] after each epoch.

        Empty if they are not stored. StoreError if they are damaged.
        """
        return self._arrays("probe.npz")

    def scores(self) -> dict[str, np.ndarray]:
        """Logits, labels and clean scores of the trained method. Empty or StoreError as for :meth:`probe`."""
        return self._arrays("scores.npz")

    @property
    def has_model(self) -> bool:
        """Whether the trained method was kept and is here."""
        return (self.path / MODEL).exists()

    def model(self) -> StoredModel | None:
        """The trained method; None if the run is not done or did not keep it. StoreError if it is damaged."""
        if self.final is None or not self.has_model:
            return None
        content = self._bytes(MODEL)
        try:
            return StoredModel.from_bytes(content)
        except Exception as error:  # its bytes are as they were summed, so somebody else wrote them
            raise StoreError(_damaged(self.path / MODEL, error)) from None

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint; None if there is none, or with a note if it is damaged."""
        try:
            return read_checkpoint((self.path / "checkpoint.pt").read_bytes())
        except FileNotFoundError:
            return None
        except Exception as error:  # torch has no common error for a damaged file
            self.note(f"checkpoint.pt is damaged ({error}): this run is trained from the start")
            return None

    # --- writing --------------------------------------------------------------------------------------------------

    def start(self, spec: RunSpec, environment: dict[str, Any]) -> None:
        """Writes what the run is and where it runs, and forgets an earlier failure.

        Where the run can be resumed, ``env.json`` stays as it is until :meth:`begin_at` tells from which epoch on.
        """
        self._write("spec.json", json.dumps(json.loads(spec.canonical), indent=1).encode())
        self._environment = environment
        if not (self.path / "checkpoint.pt").exists():
            self.begin_at(1)
        self._discard("status.json")

    def begin_at(self, epoch: int) -> None:
        """Writes that this attempt trains from ``epoch`` (1-based) on. What trained the epochs before is kept."""
        if self._environment is None:
            return
        before: list[dict[str, Any]] = []
        if epoch > 1:
            try:
                before = [attempt for attempt in attempts(self.environment) if attempt["first_epoch"] < epoch]
            except StoreError as damage:
                self.note(f"{damage}: it is not known where the epochs before epoch {epoch} were trained")
        first, *resumed = [*before, {**self._environment, "first_epoch": epoch}]
        self._write("env.json", _json({**first, "resumed": resumed} if resumed else first))

    def save_epochs(self, records: list[dict[str, Any]]) -> None:
        """Writes the records of all finished epochs."""
        self._write("epochs.jsonl", b"".join(_json(record) + b"\n" for record in records))

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Writes the state after the last finished epoch."""
        self._write("checkpoint.pt", lambda file: write_checkpoint(file, state))

    def open_log(self) -> TextIO:
        """``log.txt``, for appending."""
        return open_log(self.path / "log.txt")

    def note(self, text: str) -> None:
        """Keeps a note of this training, in ``notes`` and as one line of its log."""
        self.notes.append(text)
        with suppress(OSError), self.open_log() as log:
            log.write(f"{one_line(visible(text))}\n")

    def fail(self, error: str, traceback: str) -> None:
        """Stores why the run failed."""
        self._write("status.json", _json({"error": error, "traceback": traceback}))

    def finish(
        self,
        final: dict[str, Any],
        scores: dict[str, np.ndarray],
        probe: dict[str, np.ndarray] | None = None,
        model: StoredModel | None = None,
    ) -> None:
        """Writes the results, ``final.json`` last, and drops the checkpoint."""
        import numpy as np

        files = {}
        for name, arrays in (("scores.npz", scores), ("probe.npz", probe)):
            if arrays is not None:
                buffer = io.BytesIO()
                np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
                files[name] = buffer.getvalue()
        if model is not None:
            files[MODEL] = model.to_bytes()
        files["final.json"] = _json(final)
        sums = {name: checksum(content) for name, content in files.items()}
        with suppress(FileNotFoundError):
            sums["epochs.jsonl"] = checksum((self.path / "epochs.jsonl").read_bytes())
        files["sums.json"] = _json(sums)
        for name in reversed(RESULTS):
            if name in files:
                self._write(name, files[name])
        self.tidy()

    def tidy(self) -> None:
        """Removes what a finished run no longer needs. Its claim goes when the caller releases its own."""
        self._discard("checkpoint.pt")

    def clear(self) -> None:
        """Forgets everything that was trained, for ``--force``. The caller holds the claim."""
        self.clear_results()
        for name in TRAINING:
            self._discard(name)

    def clear_results(self) -> None:
        """Forgets damaged results. Training resumes from a checkpoint if there is one."""
        for name in RESULTS:
            self._discard(name)

    # --- files ----------------------------------------------------------------------------------------------------

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
        """A JSON object; None if there is no file, StoreError if it holds something else."""
        try:
            content = parse_json(self._bytes(name))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(_damaged(self.path / name, error)) from None
        if not isinstance(content, dict):
            raise StoreError(_damaged(self.path / name, "it is no object"))
        return content

    def _bytes(self, name: str) -> bytes:
        """A file. FileNotFoundError, or StoreError if the results know another sha256 of it."""
        content = (self.path / name).read_bytes()
        if name in SUMMED and name in (sums := self._sums()) and sums[name] != checksum(content):
            raise StoreError(_damaged(self.path / name, "its bytes were changed"))
        return content

    def _sums(self) -> dict[str, str]:
        """sha256 by file of a finished run; empty for another one. StoreError if they are missing or damaged."""
        if not (self.path / "final.json").exists():
            return {}
        try:
            return dict(orjson.loads((self.path / "sums.json").read_bytes()))
        except FileNotFoundError:
            raise StoreError(f"{self.path / 'sums.json'} is missing") from None
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


def attempts(environment: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The attempts of ``env.json``, in order: the environment of each, with ``first_epoch`` (1-based).

    Fields of other types than this version writes are left out.
    """
    if not environment:
        return []
    first = {name: value for name, value in environment.items() if name != "resumed"}
    later = environment.get("resumed", [])
    found = [first, *(each for each in later if isinstance(each, dict))] if isinstance(later, list) else [first]
    return [{**each, "first_epoch": n if type(n := each.get("first_epoch")) is int else 1} for each in found]


def identity_error(path: Path, spec: Mapping[str, Any] | None) -> str:
    """Why a specification is not that of the run folder ``path``; "" if it is."""
    file = path / "spec.json"
    if spec is None:
        return f"{file} is missing"
    if key_of(spec) != path.name or spec.get("method") != path.parent.name:
        return _damaged(file, "it is the specification of another run")
    return ""


def _safe(name: str) -> str:
    """A data set's name as the name of one folder. A path keeps its last part."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(name).name).strip(".") or "data"


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, sort_keys=True).encode()


def _damaged(path: Path, why: object) -> str:
    return f"{path} is damaged ({why})"
