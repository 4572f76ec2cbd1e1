"""What a run folder must hold to be read as results of this fer-bench. A folder may be damaged, of another version, or
not of fer-bench at all; whoever reads many of them names it and goes on with the rest."""

from __future__ import annotations

from typing import Any

from fer_bench.spec import SpecError, restore
from fer_bench.store import RunFolder

LIMIT = 1e300
"""Numbers are below it; so are they finite."""
_SCORES = {
    **dict.fromkeys(("overall", "mean", "macro_f1", "nll", "ece"), float),
    "worst": (float, None),
    "recall?": [(float, None)],
    "confusion?": [[float]],
}
_FIT = {"fit_given": float, "fit_true": (float, None), "memorised": (float, None)}
EPOCH = {"epoch": float, "test": _SCORES, "val?": (_SCORES, None), "train_fit?": _FIT, "seconds?": {}}
FINAL = {
    **dict.fromkeys(("train_images", "realised_rate", "parameters", "images_forward", "images_backward"), float),
    **dict.fromkeys(("seconds", "skipped_steps"), float),
    "observed_imbalance": (float, None),
    "told_noise_rate": bool,
    "clean_labels_used?": float,
    "peak_memory_bytes?": (float, None),
    "extra_images?": str,
    "ensemble?": str,
    "remarks?": [str],
    "detection": {"auroc": (float, None), "ap": (float, None)},
    "memorisation": _FIT,
    "noise?": {"true_counts?": [float], "purity?": [(float, None)], "confusion?": [[float]]},
}
"""Shapes, for :func:`misfit`: a type (float for any number), a list of one shape, an object by
name ("name?" may be missing), or several shapes of which one fits."""


class UnreadableRun(RuntimeError):
    """The results of a run cannot be used; the message names the folder and why."""


def contents(folder: RunFolder) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
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
    wrong = misfit(final, FINAL, "final.json")
    if not folder.summed:  # else the epochs are what was written, and there are many
        wrong = wrong or misfit(epochs, [EPOCH], "epochs.jsonl")
    if wrong:
        raise UnreadableRun(f"{folder.path}: {wrong}; remove the folder to train it again")
    return spec, final, epochs


def state(folder: RunFolder) -> tuple[str, str]:
    """The state of a run, and why it failed; "unreadable" and why where its files cannot be used."""
    unreadable = ""
    try:
        if (folder.path / "final.json").exists():
            try:
                contents(folder)
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


def _are_numbers(values: list[Any]) -> bool:
    """The usual answer for a long list of numbers, without a look at each in Python."""
    return set(map(type, values)) <= {int, float} and (not values or -LIMIT < min(values) <= max(values) < LIMIT)


def misfit(value: Any, shape: Any, where: str) -> str:
    """How a value from JSON departs from a shape, as "where: what"; "" if it fits."""
    if isinstance(shape, tuple):
        found = ""
        for each in reversed(shape):  # what is said is of the first shape
            if not (found := misfit(value, each, where)):
                return ""
        return found
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        numbers = [each for each in value if each is not None] if shape[0] == (float, None) else value
        if shape[0] in (float, (float, None)) and _are_numbers(numbers):
            return ""
        return next(filter(None, (misfit(each, shape[0], f"{where}[{i}]") for i, each in enumerate(value))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is no object"
        for name, inner in shape.items():
            plain = name.removesuffix("?")
            if plain in value:
                if wrong := misfit(value[plain], inner, f"{where}: {plain}"):
                    return wrong
            elif plain == name:
                return f"{where}: {name!r} is missing"
        return ""
    if shape is None:
        return "" if value is None else f"{where} is not null"
    if shape is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and -LIMIT < value < LIMIT
        return "" if number else f"{where} = {str(value)[:40]!r} is no number"
    return "" if isinstance(value, shape) else f"{where} = {str(value)[:40]!r} is not of type {shape.__name__}"
