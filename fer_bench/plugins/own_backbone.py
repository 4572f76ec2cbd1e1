"""A backbone of one's own: a function in a Python file, named ``FILE.py:FUNCTION``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.plugins.code_hash import code_hash
from fer_bench.plugins.loading import import_file, read_source

FORM = "FILE.py:FUNCTION"


@dataclass(frozen=True)
class OwnBackbone:
    """A function that makes networks.

    Attributes:
        path: The file.
        function: Its name.
        code: Hash of the file and of the modules beside it that it imports, as that of a method.
    """

    path: Path
    function: str
    code: str

    @property
    def id(self) -> str:
        """What the key of a run holds: name of the file, function and hash, wherever the file lies."""
        return f"{self.path.name}:{self.function}@{self.code}"

    def load(self) -> Callable[[int], Any]:
        """``make(num_classes)``: calls the function, with ``in_chans=3`` where it takes that.

        Raises:
            PluginError: The file cannot be read or imported, or was changed since.
            SpecError: The function is not in it.
        """
        module = import_file(f"backbone_{self.path.stem}", self.path, read_source(self.path, self.code))
        function: Callable[..., Any] | None = getattr(module, self.function, None)
        if not callable(function):
            own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
            raise SpecError(f"--backbone {self.path}: no function {self.function!r}{nearest(self.function, own)}")
        return partial(_make, function, f"{self.path.name}:{self.function}")


def own_backbone(text: str) -> OwnBackbone | None:
    """The function that a backbone names; None for the name of a network of fer-bench or timm.

    Raises:
        SpecError: The file is not there, or no function is named.
    """
    if ".py" not in text:
        return None
    file, _, function = text.rpartition(":") if ":" in text else (text, "", "")
    path = Path(file).expanduser()
    require(path.suffix == ".py", f"--backbone {text}: a network of your own is named as {FORM}")
    require(path.is_file(), f"--backbone {text}: there is no file {path}")
    require(function.isidentifier(), f"--backbone {text}: name the function that makes the network, as {file}:make_net")
    return OwnBackbone(path, function, code_hash(path))


def backbone_of_run(backbone: str, named: str) -> OwnBackbone | None:
    """The function that made the networks of a finished run; None for a network of fer-bench or timm.

    Args:
        backbone: The backbone of the run's recipe.
        named: What ``--backbone`` names; "" for nothing.

    Raises:
        SpecError: The function is needed and not named, its code is another one, or it is named and not needed.
    """
    name, code = backbone.rpartition("@")[::2]
    if ".py:" not in name:
        require(not named, f"--backbone {named}: the network of the run is {backbone}; leave the option out")
        return None
    require(bool(named), f"the network of the run is a function of yours: name its file with --backbone …/{name}")
    found = own_backbone(named)
    same = found is not None and found.id == backbone
    require(same, f"--backbone {named} is not the network of the run, {name} with code {code}; its code has changed")
    return found


def _make(function: Callable[..., Any], name: str, num_classes: int) -> Any:
    """A network of the function. SpecError says why it makes none."""
    try:
        takes = inspect.signature(function).parameters.values()
        chans = any(each.name == "in_chans" or each.kind is each.VAR_KEYWORD for each in takes)
        net = function(num_classes=num_classes, **({"in_chans": 3} if chans else {}))
    except Exception as error:  # a network fails in its own way
        raise SpecError(f"{name}(num_classes={num_classes}) raises {type(error).__name__}: {error}") from error
    from torch.nn import Module  # here, because the command line must answer before torch is imported

    require(isinstance(net, Module), f"{name}(num_classes={num_classes}) gives a {type(net).__name__}, no torch module")
    return net
