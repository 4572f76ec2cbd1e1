"""What a run folder must hold to be read as results of this fer-bench. A folder may be damaged, of another version, or
not of fer-bench at all; whoever reads many of them names it and goes on with the rest."""

from __future__ import annotations

from typing import Any

from fer_bench.core.errors import SpecError
from fer_bench.core.schema import schema_error
from fer_bench.core.spec import restore
from fer_bench.store.folder import RunFolder

_SCORES = {
    **dict.fromkeys(("overall", "mean", "macro_f1", "nll", "ece"), float),
    "worst": (float, None),
    "recall?": [(float, None)],
    "confusion?": [[float]],
}

_FIT = {"fit_noisy": float, "fit_clean": (float, None), "memorised": (float, None)}

EPOCH = {"epoch": float, "test": _SCORES, "val?": (_SCORES, None), "train_fit?": _FIT, "seconds?": {}}

FINAL = {
    **dict.fromkeys(("train_images", "realised_rate", "parameters", "images_forward", "images_backward"), float),
    **dict.fromkeys(("seconds", "skipped_steps"), float),
    "noisy_imbalance": (float, None),
    "uses_noise_rate": bool,
    "clean_labels_used?": float,
    "peak_memory_bytes?": (float, None),
    "extra_images?": str,
    "ensemble?": str,
    "remarks?": [str],
    "detection": {"auroc": (float, None), "ap": (float, None)},
    "memorisation": _FIT,
    "noise?": {"clean_counts?": [float], "purity?": [(float, None)], "confusion?": [[float]]},
}
"""Shapes, for :func:`schema_error`: a type (float for any number), a list of one shape, an object by
name ("name?" may be missing), or several shapes of which one fits."""


class UnreadableRun(RuntimeError):
    """The results of a run cannot be used; the message names the folder and why."""


def read_record(folder: RunFolder) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Specification, results and epochs of a finished run, checked. UnreadableRun says what does not fit."""
    try:
        spec, final, epochs = folder.spec, folder.final, folder.epochs()
    except (RuntimeError, OSError, ValueError) as error:
        raise UnreadableRun(str(error)) from None
    if spec is None or final is None or not epochs:
        absent = "specification" if spec is None else "results" if final is None else "epochs"
        raise UnreadableRun(f"{folder.path} is done but has no {absent}; run the sweep's command again to repeat it")
    try:
        restore(spec, str(folder.path / "spec.json"))
    except SpecError as error:
        raise UnreadableRun(str(error)) from None
    wrong = schema_error(final, FINAL, "final.json")
    if not folder.summed:  # else the epochs are what was written, and there are many
        wrong = wrong or schema_error(epochs, [EPOCH], "epochs.jsonl")
    if wrong:
        raise UnreadableRun(f"{folder.path}: {wrong}; remove the folder to train it again")
    return spec, final, epochs


def state(folder: RunFolder) -> tuple[str, str]:
    """The state of a run, and why it failed; "unreadable" and why where its files cannot be used."""
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
    except (RuntimeError, OSError, AttributeError, ValueError) as error:
        return "unreadable", str(error)
    return found, str(why or "status.json does not say why")
