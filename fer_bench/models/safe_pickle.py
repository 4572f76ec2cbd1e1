"""Reads a pickled dict of numpy arrays, such as ``resnet50_ft_weight.pkl``, without running anything in it.

A pickle is a program. This reader gives it a dict and stand-ins for numpy's names that only note what they are given
("Restricting Globals" in the documentation of ``pickle``); any other name ends the reading. The arrays are made
afterwards, from bytes whose number was checked.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import SpecError

NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}
"""The element types that a file of weights may hold."""


class _Dtype:
    """What ``numpy.dtype(code, align, copy)`` and its state say: the element type and its byte order."""

    def __init__(self, code: object, *flags: object) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Array:
    """What ``_reconstruct(ndarray, (0,), 'b')`` and its state (version, shape, dtype, Fortran order, bytes) say."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Flat(_Array):
    """What ``_frombuffer(bytes, dtype, shape, order)`` says, with which numpy writes arrays in protocol 5."""

    def __init__(self, data: object, dtype: object, shape: object, order: object) -> None:
        self.state = (1, shape, dtype, order == "F", data)


def _latin1(text: object, encoding: object) -> bytes:
    """Python 3's way to write bytes in protocol 2: ``_codecs.encode(text, 'latin1')``, and no other encoding."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"_codecs.encode to {encoding!r} is not needed for arrays")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Flat for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs; nothing was run")
        return _ADMITTED[module, name]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a pickled dict by name, of Python 2 or 3. SpecError if the pickle is or does anything else."""
    try:
        with path.open("rb") as handle:
            found = _Reader(handle, encoding="latin1").load()
            if not isinstance(found, dict) or not found:
                raise pickle.UnpicklingError("it is not a dict of arrays")
            return {str(name): _array(name, value) for name, value in found.items()}
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise SpecError(f"{path} is not a pickled dict of numpy arrays: {error}") from None


def _array(name: object, noted: object) -> np.ndarray:
    """The array that a pickle described. UnpicklingError for anything but plain numbers of the right count."""
    try:
        _, shape, dtype, fortran, data = noted.state  # type: ignore[attr-defined]
        code = f"{dtype.code}"
        order = {"<": "<", ">": ">", "|": "<", "=": "<"}[dtype.order]
        raw = data.encode("latin1") if isinstance(data, str) else bytes(memoryview(data))
        sizes = tuple(int(size) for size in shape)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise pickle.UnpicklingError(f"{name!r} is not an array") from None
    if code not in NUMBERS or min(sizes, default=0) < 0 or len(raw) != prod(sizes) * int(code[1:]):
        raise pickle.UnpicklingError(f"{name!r} is not an array of numbers: {code} {sizes}, {len(raw)} bytes")
    return np.frombuffer(raw, order + code).reshape(sizes, order="F" if fortran else "C")
