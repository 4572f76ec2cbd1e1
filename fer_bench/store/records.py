"""Finished runs as records: read once, and checked against the fields that this version of fer-bench writes.

A folder may be damaged, of another version, or not of fer-bench at all. Reading it raises
:class:`fer_bench.core.errors.UnreadableRun`, so that a reader of many runs can name it and go on with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from fer_bench.core.errors import SpecError, StoreError, UnreadableRun
from fer_bench.core.files import read_each
from fer_bench.core.schema import schema_error
from fer_bench.core.spec import restore
from fer_bench.core.variant import Variant
from fer_bench.store.folder import REPEAT, RunFolder, attempts, identity_error
from fer_bench.store.label_scores import MEASURES, SCORES

if TYPE_CHECKING:
    import numpy as np

_SCORES = {
    **dict.fromkeys(("overall", "mean"), float),
    **dict.fromkeys(("macro_f1", "worst", "nll", "ece"), (float, None)),  # None where it was not kept
    "recall?": [(float, None)],
    "confusion?": [[float]],
}

_FIT = {"fit_noisy": float, "fit_clean": (float, None), "memorised": (float, None)}

EPOCH = {"epoch": float, "test": _SCORES, "val?": (_SCORES, None), "train_fit?": _FIT, "seconds?": {}}

_EARLIER = {**EPOCH, "val?": ({**_SCORES, "mean": (float, None)}, None)}
"""An epoch before the last one. A compact file holds of its validation measures the overall accuracy alone."""

FINAL = {
    **dict.fromkeys(("train_images", "realised_rate", "parameters", "images_forward", "images_backward"), float),
    **dict.fromkeys(("seconds", "skipped_steps"), float),
    "noisy_imbalance": (float, None),
    "uses_noise_rate": bool,
    "labels?": str,
    "splits?": {**dict.fromkeys(("train", "val", "test", "held_out"), float), "source": str},
    "clean_labels_used?": float,
    "peak_memory_bytes?": (float, None),
    "extra_images?": str,
    "ensemble?": str,
    "remarks?": [str],
    "other_predictions?": {},
    "detection": {"auroc": (float, None), "ap": (float, None)},
    "label_scores?": {f"{name}?": dict.fromkeys(MEASURES, (float, None)) for name in SCORES},
    "memorisation": _FIT,
    "noise?": {"clean_counts?": [float], "purity?": [(float, None)], "confusion?": [[float]]},
}
"""Shapes of an epoch and of the results, as :func:`fer_bench.core.schema.schema_error` reads them."""


class Contents(Protocol):
    """What is stored of a finished run.

    Attributes:
        spec: As ``spec.json`` holds it.
        final: As ``final.json`` holds it.
        epochs: One record for each epoch, in order.
        environment: As ``env.json`` holds it; None where it is to be read from the folder.
        row: What :func:`fer_bench.store.row.row_values` makes of them; None if that is not known.
    """

    @property
    def spec(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def final(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def epochs(self) -> list[dict[str, Any]]: ...  # noqa: D102
    @property
    def environment(self) -> dict[str, Any] | None: ...  # noqa: D102
    @property
    def row(self) -> dict[str, Any] | None: ...  # noqa: D102


@dataclass(frozen=True)
class Values:
    """:class:`Contents` that are in memory."""

    spec: dict[str, Any]
    final: dict[str, Any]
    epochs: list[dict[str, Any]]
    environment: dict[str, Any] | None = None
    row: dict[str, Any] | None = None


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        folder: Folder of the run.
        contents: What is stored of it. Of many runs it is parsed when it is asked for, and of the epochs it holds what
            :func:`fer_bench.store.model_selection.shown_epochs` keeps.
        absent: Whether the folder is missing on this machine: the record comes from the compact file of its sweep
            (:mod:`fer_bench.store.compact`), and :meth:`scores` and :meth:`probe` are empty.
        variant: Where its settings come from, as its sweep says; empty for a run that is read without a sweep.
    """

    folder: RunFolder
    contents: Contents = field(repr=False)
    absent: bool = False
    variant: Variant = field(default_factory=Variant)

    @property
    def spec(self) -> dict[str, Any]:
        """Settings of the run, as ``spec.json`` holds them."""
        return self.contents.spec

    @property
    def final(self) -> dict[str, Any]:
        """Results of the run, as ``final.json`` holds them."""
        return self.contents.final

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """One record for each epoch, in order; at least one."""
        return self.contents.epochs

    @property
    def key(self) -> str:
        """Key of the run: 16 hexadecimal digits."""
        return self.folder.path.name

    @property
    def errors_known(self) -> bool:
        """Whether it is known which training labels are wrong: from reference labels, or because noise was injected.

        Otherwise the labels are as they were given, and nobody knows which of them are right.
        """
        return self.final.get("labels", "reference") == "reference" or self.final["realised_rate"] > 0

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Where the first epochs were trained: commit, packages, device. Empty if that cannot be read."""
        if self.contents.environment is not None:
            return self.contents.environment
        try:
            found = self.folder.environment
        except (StoreError, OSError):
            return {}
        return found if isinstance(found, dict) and isinstance(found.get("packages", {}), dict) else {}

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The environment of each attempt, in order, with ``first_epoch``: the first epoch that it trained."""
        return attempts(self.environment)

    def scores(self) -> dict[str, np.ndarray]:
        """Logits, labels and clean scores of the trained method, by name. Empty if they are not on this machine.

        Raises:
            StoreError: The file is damaged.
        """
        return self.folder.scores()

    def probe(self) -> dict[str, np.ndarray]:
        """``rows`` int64 [P] of the training set and their ``logits`` float16 [epochs, P, C] after each epoch.

        Empty if they are not on this machine.

        Raises:
            StoreError: The file is damaged.
        """
        return self.folder.probe()


def read_record(folder: RunFolder) -> Record:
    """Reads a finished run.

    Raises:
        UnreadableRun: Files are missing, damaged or of another version; the message names the folder and the reason.
    """
    try:
        spec, final, epochs = folder.spec, folder.final, folder.epochs()
    except (StoreError, OSError, ValueError) as error:
        raise UnreadableRun(str(error)) from None
    if spec is None or final is None or not epochs:
        absent = "specification" if spec is None else "results" if final is None else "epochs"
        raise UnreadableRun(f"{folder.path} is done but has no {absent}; {REPEAT}")
    record = Record(folder, Values(spec, final, epochs))
    # the epochs match their checksum, so they are what was written, and there are many
    if wrong := record_error(record, every_epoch=False):
        raise UnreadableRun(wrong)
    return record


def record_error(record: Record, every_epoch: bool = True) -> str:
    """What makes a record unusable, with the path of its folder; "" if it is fine.

    Args:
        record: The record; its file may hold anything.
        every_epoch: Whether the fields of all epochs are checked, or only those of the last one.
    """
    path = record.folder.path
    try:
        restore(record.spec, str(path / "spec.json"))
    except SpecError as error:
        return str(error)
    if wrong := identity_error(path, record.spec):
        return f"{wrong}; {REPEAT}"
    earlier, last = record.epochs[:-1] if every_epoch else [], record.epochs[-1:]
    wrong = schema_error(record.final, FINAL, "final.json")
    wrong = wrong or schema_error(earlier, [_EARLIER], "epochs.jsonl") or schema_error(last, [EPOCH], "epochs.jsonl")
    return f"{path}: {wrong}; remove the folder to train it again" if wrong else ""


def read_records(folders: Iterable[RunFolder]) -> tuple[list[Record], list[str]]:
    """Reads finished runs: the records that can be read, and a line for each of the others that says why not."""

    def read(folder: RunFolder) -> Record | str:
        try:
            return read_record(folder)
        except UnreadableRun as error:
            return str(error)

    answers = read_each(read, folders)
    return [a for a in answers if isinstance(a, Record)], [a for a in answers if isinstance(a, str)]


def run_state(folder: RunFolder) -> tuple[str, str]:
    """The state of a run and the reason if it failed; "unreadable" and the reason where its files cannot be used."""
    unreadable = ""
    try:
        if (folder.path / "final.json").exists():
            try:
                read_record(folder)
                return "done", ""
            except UnreadableRun as error:
                unreadable = str(error)
        found = folder.state
        if found == "done":
            return "unreadable", unreadable
        if found != "failed":
            return found, ""
        why = folder.failure.get("error")
    except (StoreError, OSError, AttributeError, ValueError) as error:
        return "unreadable", str(error)
    return found, str(why or "status.json does not say why")
