"""Golden cases: inputs, parameters and outputs that were computed with the official code of each method.

Every case of every file is a test. ``vectors/`` is the folder, or the one that FER_BENCH_GOLDEN names. A file is run
through ``adapters/<file stem>.py``, whose ``compute(case)`` calls the project's own functions and returns every output
that the case names. An adapter is given the names of the outputs, never their values.
"""

from __future__ import annotations

import copy
import importlib
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
VECTORS = Path(os.environ.get("FER_BENCH_GOLDEN") or HERE / "vectors")

RTOL = {"float64": 1e-7, "float32": 3e-5}
ATOL = {"float64": 1e-11, "float32": 2e-6}
FILE_RTOL: dict[str, dict[str, float]] = {
    "cb": {"float64": 1e-6, "float32": 1e-4},
    "eac": {"float64": 1e-6},
    "pes": {"float64": 5e-7},
}
"""Where the official outputs carry rounding of their own, as EAC mirrors maps by a float32 grid, or ours do: the class
weights of PES are float32."""
FILE_ATOL = {"eac": {"float64": 1e-7}, "lanet": {"float32": 1e-5}}
"""Values that are 0 but for that rounding: EAC's gradients for exact mirror images, differences of LA-Net's losses."""
FILE_SCALED = {"dmue": 1e-6, "eac": 1e-6, "nla": 1e-7, "pes": 1e-7}
"""Added to the absolute tolerance as a share of the largest number of an output, where its small entries are
differences of large ones: EAC's mirrored maps, NLA's gradients (the official density has a float32 pi in float64),
float32 gradients of DMUE, weights that PES has trained.
"""

FLOAT32_CASES = ("tiny_batches", "meta_")
"""Families whose numbers are float32 without saying so."""

FLOAT32_UNSAID = ("coteaching_plus", "mentornet")
"""Files with outputs of either type that do not say which: it is float32 if every number is one exactly."""

CASE_FIELDS = {"name", "dtype", "inputs", "params", "outputs", "output_keys", "note"}

INPUTS_AMONG_OUTPUTS = {"noise_imbalance": ("count_matrix_rows_clean_cols_noisy",)}
"""What a case measured on a file that cannot be shipped, and its other outputs follow from: handed over as well."""

TEXT_KEYS = ("note", "notes", "official", "required")
"""Outputs that are remarks in words. They are not compared, though an adapter has to return them."""


def load_cases() -> list[Any]:
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        if not (HERE / "adapters" / f"{path.stem}.py").is_file():
            found.append(pytest.param(path.stem, {"name": "no adapter"}, id=f"{path.stem}::no adapter"))
            continue
        content = json.loads(path.read_text())
        for case in content["cases"]:
            if str(content.get("notes", "")).startswith("float32"):  # said once for the whole file
                case.setdefault("dtype", "float32")
            found.append(pytest.param(path.stem, case, id=f"{path.stem}::{case['name']}"))
    return found


def without_values(stem: str, case: dict[str, Any]) -> dict[str, Any]:
    """A copy of the case whose outputs are names only: nothing is left to copy from."""
    stripped = copy.deepcopy({k: v for k, v in case.items() if k != "outputs"})
    given = INPUTS_AMONG_OUTPUTS.get(stem, ())
    stripped["outputs"] = {key: copy.deepcopy(v) if key in given else None for key, v in case["outputs"].items()}
    stripped["output_keys"] = list(case["outputs"])
    return stripped


class Fields(dict[str, Any]):
    """A table that knows which of its fields were read. Asking whether one is there is not reading it."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def unread(case: dict[str, Any]) -> list[str]:
    """Fields of a case that its adapter did not read, or that no adapter knows."""
    parts = [(part, case[part]) for part in ("inputs", "params") if isinstance(case.get(part), Fields)]
    found = [f"{name}.{key}" for name, part in parts for key in part if key not in part.read and key != "dtype"]
    return sorted({*case} - CASE_FIELDS) + found


def check_all_read(stem: str, case: dict[str, Any]) -> str:
    """Every field of a case counts. In another folder, where the numbers may agree all the same, it is a warning.

    Returns:
        A remark for the message of numbers that differ.
    """
    left = unread(case)
    if not left:
        return ""
    said = f"{stem}: the adapter did not read {', '.join(left)} of {case['name']}"
    assert VECTORS != HERE / "vectors", said
    warnings.warn(said, stacklevel=2)
    return f" ({said})"


def precision(case: dict[str, Any], key: str, stem: str = "") -> str:
    """ "float32" or "float64", from the case's own field, its parameters, its family, the output's name or numbers."""
    told = str(case.get("dtype") or case.get("params", {}).get("dtype") or "").removeprefix("torch.")
    if key.endswith("_float32") or case["name"].startswith(FLOAT32_CASES):
        return "float32"
    if not told and stem in FLOAT32_UNSAID and all_float32(case["outputs"][key]):
        return "float32"
    return told if told in RTOL else "float64"


def all_float32(value: Any) -> bool:
    """Whether nested numbers are float32 exactly, and at least one of them has more digits than was typed in."""
    numbers = [float(v) for v in flattened(value) if isinstance(v, float)]
    return all(float(np.float32(v)) == v for v in numbers) and any(len(repr(v)) > 12 for v in numbers)


def flattened(value: Any) -> list[Any]:
    """The leaves of nested lists and tables."""
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for v in value for leaf in flattened(v)] if isinstance(value, list) else [value]


def plain(value: Any) -> Any:
    """Tensors, arrays and tuples as nested lists; the strings "nan", "inf", "-inf" as floats."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    return value


def compare(ours: Any, theirs: Any, where: str, rtol: float, atol: float) -> None:
    """Same structure, and every number within atol + rtol * |theirs|; whole numbers, truth values and text exactly."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), f"{where}: expected a table, got {ours!r}"
        missing = sorted(set(theirs) - set(ours))
        assert not missing, f"{where}: missing {missing}"
        for key, value in theirs.items():
            compare(ours[key], value, f"{where}.{key}", rtol, atol)
    elif isinstance(theirs, list):
        assert isinstance(ours, list), f"{where}: expected a list, got {ours!r}"
        assert len(ours) == len(theirs), f"{where}: {len(ours)} entries instead of {len(theirs)}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            compare(a, b, f"{where}[{i}]", rtol, atol)
    elif isinstance(theirs, bool) or isinstance(ours, bool) or isinstance(theirs, str) or theirs is None:
        assert ours == theirs, f"{where}: {ours!r} instead of {theirs!r}"
    else:
        assert isinstance(ours, int | float), f"{where}: {ours!r} instead of {theirs!r}"
        if isinstance(theirs, float) and not math.isfinite(theirs):
            same = math.isnan(ours) if math.isnan(theirs) else ours == theirs
        else:
            same = abs(ours - theirs) <= atol + rtol * abs(theirs)
        assert same, f"{where}: {ours!r} instead of {theirs!r}"


def largest(value: Any) -> float:
    """The largest finite magnitude in nested lists and tables of numbers, 0 if there is none."""
    return max((abs(v) for v in flattened(value) if isinstance(v, float) and math.isfinite(v)), default=0.0)


def drop_rows(value: list[Any], rows: list[int]) -> list[Any]:
    return [row for i, row in enumerate(value) if i not in set(rows)]


@pytest.mark.parametrize(("stem", "case"), load_cases())
def test_golden(stem: str, case: dict[str, Any]) -> None:
    assert case["name"] != "no adapter", f"{VECTORS}/{stem}.json has no adapter in {HERE / 'adapters'}"
    given = without_values(stem, case)
    given |= {part: Fields(given[part]) for part in ("inputs", "params") if part in given}
    ours = importlib.import_module(f"tests.golden.adapters.{stem}").compute(given)
    missing = sorted(set(case["outputs"]) - set(ours))
    assert not missing, f"the adapter returned no {missing}"
    said = check_all_read(stem, given)
    for key, expected in case["outputs"].items():
        if key in TEXT_KEYS and isinstance(expected, str):
            continue
        got, want = plain(ours[key]), plain(expected)
        # "<key>_undefined_rows" names rows in which the official value is an arbitrary choice between ties.
        undefined = case["outputs"].get(f"{key}_undefined_rows")
        if undefined:
            assert len(got) == len(want), f"{key}: {len(got)} rows instead of {len(want)}"
            got, want = drop_rows(got, undefined), drop_rows(want, undefined)
        kind = precision(case, key, stem)
        rtol = FILE_RTOL.get(stem, {}).get(kind, RTOL[kind])
        atol = FILE_ATOL.get(stem, {}).get(kind, ATOL[kind])
        compare(got, want, key + said, rtol, atol + FILE_SCALED.get(stem, 0.0) * largest(want))


def test_every_built_in_file_is_found() -> None:
    """An empty folder must not look like success."""
    assert any(VECTORS.glob("*.json")), f"no golden files in {VECTORS}"


def test_a_field_that_is_not_read_is_noticed() -> None:
    case = {"name": "a", "inputs": Fields({"x": 1, "y": 2}), "params": Fields({"k": 3, "dtype": "float32"}), "odd": 4}
    assert case["inputs"]["x"] == 1 and "y" in case["inputs"] and case["params"].get("k") == 3
    assert unread(case) == ["odd", "inputs.y"]


def test_numbers_tell_that_they_are_float32() -> None:
    third = float(np.float32(1 / 3))
    assert all_float32([{"a": third}, 0.5, 7]) and not all_float32([third, 1 / 3]) and not all_float32([0.5, 0.25])
