"""``FILE.py:FUNCTION``: which function is meant, what its identity is, and what a wrong one is told."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from fer_bench.core.errors import FerBenchError, PluginError, SpecError
from fer_bench.plugins.own_backbone import OwnBackbone, own_backbone
from tests.helpers.own_network import NETWORK


def write(path: Path, source: str = NETWORK, function: str = "make_net") -> OwnBackbone:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    found = own_backbone(f"{path}:{function}")
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["ferres8", "resnet18", "resnet18.a1_in1k", "hf-hub:timm/resnet18", ""])
def test_other_networks_are_no_files(name: str) -> None:
    assert own_backbone(name) is None


def test_the_function_makes_the_network(tmp_path: Path) -> None:
    make = write(tmp_path / "net.py").load()
    assert make(5).fc.out_features == 5
    assert write(tmp_path / "net.py", function="Plain").load()(3).fc.out_features == 3, "a class is a function, too"


@pytest.mark.parametrize(
    ("head", "chans"),
    [("num_classes, in_chans", 3), ("num_classes, **given", 3), ("num_classes, in_chans=1", 3), ("num_classes", None)],
)
def test_channels_are_given_where_they_are_taken(head: str, chans: int | None, tmp_path: Path) -> None:
    taken = "in_chans" if "in_chans" in head else "given['in_chans']" if "given" in head else "None"
    source = f"{NETWORK}\n\ndef own({head}):\n    net = Plain(num_classes)\n    net.chans = {taken}\n    return net\n"
    assert write(tmp_path / "net.py", source, "own").load()(2).chans == chans


def test_the_identity_is_name_function_and_code_but_not_the_folder(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "net.py")
    assert first.id == f"net.py:make_net@{first.code}" and len(first.code) == 12
    assert write(tmp_path / "b" / "net.py", f"# a comment\n{NETWORK}").id == first.id
    assert write(tmp_path / "c" / "net.py", NETWORK.replace("width=12", "width=13")).id != first.id
    assert write(tmp_path / "d" / "other.py").id != first.id
    assert write(tmp_path / "a" / "net.py", function="Plain").id != first.id
    imports = f"import helper\n{NETWORK}"
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "helper.py").write_text("WIDTH = 1")
    one = write(tmp_path / "e" / "net.py", imports)
    (tmp_path / "e" / "helper.py").write_text("WIDTH = 2")
    assert write(tmp_path / "e" / "net.py", imports).id != one.id, "the code of a module beside it counts"
    assert pickle.loads(pickle.dumps(one)) == one, "it is sent to workers"


def test_a_file_that_was_changed_is_not_run(tmp_path: Path) -> None:
    planned = write(tmp_path / "net.py")
    (tmp_path / "net.py").write_text(f"{NETWORK}\nraise SystemExit('run')\n")
    with pytest.raises(PluginError, match=r"net\.py was changed since the sweep was planned"):
        planned.load()


WRONG = """
def raises(num_classes):
    return 1 / 0

def nothing(num_classes):
    pass

def no_classes():
    pass
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("net.py", r"name the function that makes the network, as net\.py:make_net"),
        ("net.py:", "name the function"),
        ("net.py:make net", "name the function"),
        ("absent.py:make_net", r"there is no file absent\.py"),
        ("net.pyc:make_net", r"named as FILE\.py:FUNCTION"),
        ("net.py:mak_net", "no function 'mak_net'; did you mean 'make_net'"),
        ("net.py:torch", r"no function 'torch'; there are: Plain, make_net"),
        ("net.py:raises", r"net\.py:raises\(num_classes=2\) raises ZeroDivisionError"),
        ("net.py:nothing", r"net\.py:nothing\(num_classes=2\) gives a NoneType, no torch module"),
        ("net.py:no_classes", r"net\.py:no_classes\(num_classes=2\) raises TypeError"),
        ("broken.py:make_net", r"broken\.py: ModuleNotFoundError: .*\n  line 2 in <module>: import nothing_of_this"),
        ("syntax.py:make_net", r"syntax\.py: SyntaxError"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK if text in ("net.py:mak_net", "net.py:torch") else NETWORK + WRONG)
    Path("broken.py").write_text("\nimport nothing_of_this_name\n")
    Path("syntax.py").write_text("def make_net(:\n")
    with pytest.raises(FerBenchError, match=message) as error:
        found = own_backbone(text)
        assert found is not None
        found.load()(2)
    assert isinstance(error.value, (SpecError, PluginError))


def test_the_network_is_drawn_from_torchs_generator(tmp_path: Path) -> None:
    make = write(tmp_path / "net.py").load()
    torch.manual_seed(3)
    one = make(4).fc.weight
    torch.manual_seed(3)
    assert torch.equal(make(4).fc.weight, one)
