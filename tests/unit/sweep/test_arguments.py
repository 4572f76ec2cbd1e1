"""Arguments of ``fer_bench.run``: every usual type is taken, and what would lose something is a clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fer_bench.core.errors import SpecError
from fer_bench.sweep.request import Request, make_request


def request(**options: Any) -> Request:
    return make_request(**{"methods": "ce", **options})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"methods": "ce"}, {"methods": ("ce",)}),
        ({"methods": ["ce", "n*"]}, {"methods": ("ce", "n*")}),
        ({"seeds": 3}, {"seeds": (3,)}),
        ({"seeds": range(2)}, {"seeds": (0, 1)}),
        ({"seeds": np.arange(2)}, {"seeds": (0, 1)}),
        ({"seeds": torch.arange(2)}, {"seeds": (0, 1)}),
        ({"seeds": np.array(5)}, {"seeds": (5,)}),
        ({"noise": 0.2}, {"noise": (0.2,)}),
        ({"noise": 0}, {"noise": (0.0,)}),
        ({"noise": np.float32(0.2)}, {"noise": (0.2,)}),
        ({"noise": np.arange(0, 0.4, 0.1)}, {"noise": (0.0, 0.1, 0.2, 0.3)}),
        ({"noise_types": "pair"}, {"noise_types": ("pair",)}),
        ({"imbalance": np.int64(10)}, {"imbalance": (10.0,)}),
        ({"train_size": np.int32(70)}, {"train_size": 70}),
        ({"data_root": "data"}, {"data_root": Path("data")}),
        ({"data_root": Path("data")}, {"data_root": Path("data")}),
        ({"dataset": Path("faces")}, {"dataset": "faces"}),
        ({"plugins": "mine.py"}, {"plugins": ("mine.py",)}),
        ({"plugins": [Path("a"), "b"]}, {"plugins": ("a", "b")}),
        ({"dedup": np.bool_(True)}, {"dedup": "exact"}),
        ({"dedup": "near"}, {"dedup": "near"}),
        ({"columns": {"path": "image", "label": 3}}, {"columns": {"path": "image", "label": "3"}}),
        ({"columns": ["path=image", "label = my label"]}, {"columns": {"path": "image", "label": "my label"}}),
        ({"val": "none"}, {"val": "none"}),
        ({"val": "0.2"}, {"val": 0.2}),
        ({"val": np.int64(500)}, {"val": 500.0}),
        ({"group_by": "subject", "ties": "first"}, {"group_by": "subject", "ties": "first"}),
        ({"settings": ["nla.tau=0.5", "ce.x=1"]}, {"settings": {"nla": {"tau": 0.5}, "ce": {"x": 1}}}),
        ({"settings": "nla.tau=0.5"}, {"settings": {"nla": {"tau": 0.5}}}),
        ({"settings": {"nla": {"tau": np.float64(0.5)}}}, {"settings": {"nla": {"tau": 0.5}}}),
        ({"epochs": np.int64(2), "lr": np.float32(0.1), "compile": False},
         {"overrides": {"epochs": 2, "lr": 0.1, "compile": False}}),
        ({"seeds": None, "noise_file": None, "lr": None}, {"seeds": (0,), "noise_file": None, "overrides": {}}),
    ],
)  # fmt: skip
def test_usual_types_become_plain_values(options: dict[str, Any], expected: dict[str, Any]) -> None:
    made = request(**options)
    found = {name: getattr(made, name) for name in expected}
    assert found == expected
    assert repr(found) == repr(expected), "not a number of NumPy that is equal to it"


@pytest.mark.parametrize("name", ["dataset", "data_root", "noise_file", "unlabelled", "preset", "plugins"])
def test_a_tilde_is_the_home_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/mine")
    found = getattr(request(**{name: "~/x"}), name)
    assert str(found[0] if name == "plugins" else found) == "/home/mine/x"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": [1.0]}, r"seeds = 1.0: a whole number is needed"),
        ({"seeds": [True]}, r"seeds = True: a whole number is needed"),
        ({"seeds": np.array([True])}, r"seeds = .*True.*: a whole number is needed"),
        ({"seeds": torch.tensor([True])}, r"seeds = .*True.*: a whole number is needed"),
        ({"seeds": "1"}, r"seeds = '1': a whole number is needed"),
        ({"seeds": {"a": 1}}, r"seeds = \{'a': 1\}: a list is needed"),
        ({"epochs": 2.0}, r"epochs = 2.0: a whole number"),
        ({"noise": "0.2"}, r"noise = '0.2': a number is needed"),
        ({"noise": [False]}, r"noise = False: a number is needed"),
        ({"noise": float("nan")}, r"noise = nan is not finite"),
        ({"noise": np.zeros((2, 2))}, r"noise = .*: a number is needed"),
        ({"methods": [3]}, r"methods = 3: a string is needed"),
        ({"data_root": 3}, r"data_root = 3: a string or a path is needed"),
        ({"data_root": b"data"}, r"data_root = b'data': a string or a path"),
        ({"dataset": ""}, r"dataset is empty"),
        ({"dedup": 1}, r"dedup = 1: True or False is needed"),
        ({"dedup": "nearly"}, r"dedup = 'nearly'; did you mean 'near'"),
        ({"columns": "image"}, r"columns = 'image': ROLE=COLUMN is needed, such as path=image"),
        ({"val": "some"}, r"val = 'some': none, a share such as 0.1, or a number of images"),
        ({"val": 0}, r"val = 0: none, a share between 0 and 1, or a whole number"),
        ({"val": 1.5}, r"val = 1.5: none, a share between 0 and 1, or a whole number"),
        ({"ties": "last"}, r"ties = 'last'; there are: distribution, drop, first"),
        ({"noise_mode": "exakt"}, r"noise_mode = 'exakt'; did you mean 'exact'"),
        ({"imbalance_type": "steps"}, r"imbalance_type = 'steps'; did you mean 'step'"),
        ({"settings": {"nla": 3}}, r"settings\['nla'\] = 3: a mapping"),
        ({"settings": ["nla"]}, r"is not of the form method.field=value"),
    ],
)
def test_what_would_lose_something_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        request(**options)


def test_an_unknown_argument_is_named_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"no 'sede'; did you mean 'seeds'"):
        request(sede=1)
