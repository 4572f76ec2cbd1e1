"""Named randomness, and keys that change with what can change a number and with nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_bench.core.errors import SpecError, nearest
from fer_bench.core.presets import PRESETS, load_preset
from fer_bench.core.schema import build, convert
from fer_bench.core.seeds import derive, numpy_rng, torch_generator, uniform_by_id
from fer_bench.core.spec import Augmentation, Imbalance, Noise, Recipe, RunSpec, restore

seeds = st.integers(-(2**63), 2**63)
parts = st.lists(st.one_of(st.text(max_size=8), st.integers(-1000, 1000)), max_size=4)


def spec(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "dataset": "synthetic",
        "fingerprint": "f" * 64,
        "method": "m",
        "code": "c" * 12,
        "config": {"b": 1, "a": 0.5},
    }
    return RunSpec(**(values | changes))


# --- seeds --------------------------------------------------------------------------------------------------------


def test_derive_has_fixed_values() -> None:
    """The first 8 bytes of sha256("0"), sha256("0\\x1fstr:order\\x1fint:3"), halved: the same on every machine."""
    assert derive(0) == 0x5FECEB66FFC86F38 >> 1
    assert derive(0, "order", 3) == int(hashlib.sha256(b"0\x1fstr:order\x1fint:3").hexdigest()[:16], 16) >> 1


@given(seeds, parts)
def test_derive_is_a_63_bit_seed(seed: int, purpose: list[str | int]) -> None:
    assert 0 <= derive(seed, *purpose) < 2**63
    assert derive(seed, *purpose) == derive(seed, *purpose)


@given(
    st.lists(
        st.tuples(seeds, st.lists(st.one_of(st.text("abc", max_size=3), st.integers(0, 9)), max_size=3)), max_size=20
    )
)
def test_derive_is_distinct(purposes: list[tuple[int, list[str | int]]]) -> None:
    distinct = {(seed, *((type(p).__name__, p) for p in parts)) for seed, parts in purposes}
    assert len({derive(seed, *parts) for seed, parts in purposes}) == len(distinct)


def test_a_number_and_its_text_are_two_purposes() -> None:
    assert derive(0, "1") != derive(0, 1)
    assert derive(0, "a", "b") != derive(0, "ab") != derive(0, "b", "a")


def test_generators_do_not_touch_the_global_streams() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = torch.rand(3, generator=torch_generator(1, "x")), numpy_rng(1, "x").random(3)
    assert torch.equal(first[0], torch.rand(3, generator=torch_generator(1, "x")))
    assert np.array_equal(first[1], numpy_rng(1, "x").random(3))
    assert not np.array_equal(first[1], numpy_rng(2, "x").random(3))
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


@settings(deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=6), unique=True, min_size=1, max_size=30), st.randoms(use_true_random=False)
)
def test_uniform_by_id_does_not_depend_on_order(ids: list[str], shuffle: Any) -> None:
    order = list(range(len(ids)))
    shuffle.shuffle(order)
    straight = uniform_by_id(3, "noise", ids, 2)
    assert np.array_equal(uniform_by_id(3, "noise", [ids[i] for i in order], 2), straight[order])
    assert np.array_equal(uniform_by_id(3, "noise", ids[:1], 2), straight[:1])


def test_uniform_by_id_is_uniform_and_independent() -> None:
    ids = [f"train/{i}" for i in range(20_000)]
    u = uniform_by_id(0, "noise", ids, 2)
    assert u.min() >= 0 and u.max() < 1
    shares = np.histogram(u[:, 0], bins=10, range=(0, 1))[0] / len(ids)
    assert np.abs(shares - 0.1).max() < 0.01  # 4.7 standard deviations
    for other in (u[:, 1], uniform_by_id(1, "noise", ids)[:, 0], uniform_by_id(0, "part", ids)[:, 0]):
        assert abs(np.corrcoef(u[:, 0], other)[0, 1]) < 0.035


# --- keys ---------------------------------------------------------------------------------------------------------


def test_the_key_is_16_hexadecimal_digits() -> None:
    assert len(spec().key) == 16 and int(spec().key, 16) >= 0


def test_the_order_of_settings_is_not_in_the_key() -> None:
    assert spec(config={"a": 0.5, "b": 1}).key == spec(config={"b": 1, "a": 0.5}).key
    assert RunSpec(**dict(reversed(list(vars(spec()).items())))).key == spec().key


CHANGES: dict[str, list[Any]] = {
    "dataset": ["rafdb"],
    "fingerprint": ["e" * 64],
    "method": ["n"],
    "code": ["d" * 12],
    "config": [{"a": 0.5, "b": 2}, {"a": 0.5}, {"a": 0.5, "b": True}, {"a": 0.5, "b": "1"}, {"a": 0.5, "b": None}],
    "noise": [
        Noise(rate=0.1),
        Noise(rate=0.10000000000000002),
        Noise("pair"),
        Noise(rate=0.1, mode="bernoulli"),
        Noise(file="x"),
    ],
    "imbalance": [Imbalance(factor=10.0), Imbalance("step", 10.0)],
    "train_size": [100, 0],
    "data_seed": [1],
    "seed": [1],
    "recipe": [
        Recipe(backbone="resnet18"),
        Recipe(pretrained="timm"),
        Recipe(image_size=64),
        Recipe(epochs=2),
        Recipe(batch_size=32),
        Recipe(optimizer="sgd"),
        Recipe(lr=1e-2),
        Recipe(weight_decay=0.0),
        Recipe(momentum=0.8),
        Recipe(schedule="cosine"),
        Recipe(gamma=0.8),
        Recipe(clip_norm=1.0),
        Recipe(mean=(0.5, 0.5, 0.5)),
        Recipe(std=(0.5, 0.5, 0.5)),
        Recipe(threads=2),
        Recipe(precision="bf16"),
        Recipe(compile=True),
        Recipe(augmentation=Augmentation(transforms=("RandomGrayscale(p=0.1)",))),
        *(
            Recipe(augmentation=Augmentation(**{name: 0.1}))
            for name in (
                "flip",
                "noise",
                "noise_variance",
                "erase",
                "erase_min",
                "erase_max",
                "rotate",
                "scale",
                "shift",
            )
        ),
    ],
    "protocol": [2],
    "unlabelled": ["c" * 64],
    "landmarks": ["c" * 64],
    "validation": ["held-out", "none"],
    "held_out": [0.2, 50.0],
}


def test_every_setting_is_in_the_key() -> None:
    assert CHANGES.keys() == {f.name for f in dataclasses.fields(RunSpec)}
    specs = [spec(), *(spec(**{name: value}) for name, values in CHANGES.items() for value in values)]
    assert len({s.key for s in specs}) == len(specs)


def test_a_recipe_has_no_untested_setting() -> None:
    """Every field of Recipe and Augmentation differs from its default in one of CHANGES."""
    for cls, values in (
        (Recipe, CHANGES["recipe"]),
        (Augmentation, [r.augmentation for r in CHANGES["recipe"]]),
        (Noise, CHANGES["noise"]),
        (Imbalance, CHANGES["imbalance"]),
    ):
        changed = {
            f.name for f in dataclasses.fields(cls) for v in values if getattr(v, f.name) != getattr(cls(), f.name)
        }
        assert changed == {f.name for f in dataclasses.fields(cls)}


def test_no_path_and_no_machine_is_in_the_key() -> None:
    words = {
        name
        for f in (RunSpec, Recipe, Augmentation, Noise, Imbalance)
        for name in (x.name for x in dataclasses.fields(f))
    }
    assert not words & {
        "out",
        "path",
        "root",
        "data_root",
        "device",
        "jobs",
        "workers",
        "name",
        "host",
        "user",
        "folder",
    }


floats = st.floats(0, 1, exclude_max=True)
specs = st.builds(
    spec,
    config=st.dictionaries(
        st.text("abc", min_size=1, max_size=3), st.one_of(st.integers(), floats, st.booleans(), st.none(), st.text())
    ),
    noise=st.builds(Noise, st.sampled_from(["symmetric", "pair"]), floats, st.sampled_from(["exact", "bernoulli"])),
    imbalance=st.builds(Imbalance, st.sampled_from(["exp", "step"]), st.floats(1, 1000)),
    train_size=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 10**6),
    recipe=st.builds(
        Recipe, lr=st.floats(1e-6, 10), epochs=st.integers(1, 1000), augmentation=st.builds(Augmentation, flip=floats)
    ),
)


@settings(deadline=None)
@given(specs)
def test_a_spec_survives_its_json(one: RunSpec) -> None:
    again = build(RunSpec, json.loads(one.canonical), "spec")
    assert again == one and again.key == one.key


@settings(deadline=None)
@given(specs, specs)
def test_equal_keys_mean_equal_specs(one: RunSpec, other: RunSpec) -> None:
    assert (one.key == other.key) == (one.canonical == other.canonical)


def test_equal_values_of_other_types_are_one_key() -> None:
    one = spec(recipe=Recipe(lr=1.0, clip_norm=5.0, mean=(1.0, 0.0, 0.5)), noise=Noise("pair", 0.25), seed=1)
    other = spec(
        recipe=Recipe(lr=1, clip_norm=np.float64(5), mean=[1, -0.0, 0.5]),  # type: ignore[arg-type]
        noise=Noise("pair", np.float32(0.25)),  # type: ignore[arg-type]
        seed=np.int64(1),
    )
    assert one.canonical == other.canonical and one.key == other.key
    for wrong in (True, "1", 1.5):
        with pytest.raises(SpecError, match="is not of type int"):
            _ = spec(seed=wrong).key


def test_settings_that_make_no_difference_are_in_no_key() -> None:
    assert spec(imbalance=Imbalance("step")).key == spec(imbalance=Imbalance("exp", 1)).key == spec().key
    assert spec(noise=Noise("none", mode="bernoulli")).key == spec(noise=Noise("none")).key
    assert spec(noise=Noise("human", mode="bernoulli")).key == spec(noise=Noise("human")).key
    assert spec(imbalance=Imbalance("step", 2.0)).key != spec(imbalance=Imbalance("exp", 2.0)).key


def test_the_key_changes_between_no_versions() -> None:
    """Stored runs are found by it: a change of this value makes every one of them be trained again."""
    assert spec().key == "324a3350529798c4"


def test_names_tell_the_conditions() -> None:
    assert spec(noise=Noise("none")).name == "m, clean, seed 0"
    assert (
        spec(noise=Noise("pair", 0.2), imbalance=Imbalance("step", 10.0), seed=3).name
        == "m, pair 0.2, step imbalance 10, seed 3"
    )
    assert Noise("human").label == "human"


# --- strictness ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, r"where has no setting 'epoch'; did you mean 'epochs'"),
        ({"epochs": "3"}, r"where\.epochs = '3' is not of type int"),
        ({"epochs": True}, r"where\.epochs = True is not of type int"),
        ({"epochs": 2.0}, r"where\.epochs = 2\.0 is not of type int"),
        ({"epochs": 0}, "epochs = 0 is out of range: 1 to"),
        ({"batch_size": 1}, "batch_size = 1 is out of range: 2 to"),
        ({"image_size": 8}, "image_size = 8 is out of range: 16"),
        ({"lr": 0}, "lr = 0.0 is not a positive number"),
        ({"lr": math.inf}, "lr = inf is not finite"),
        ({"lr": math.nan}, "lr = nan is not finite"),
        ({"optimizer": "adm"}, "where.optimizer = 'adm'; did you mean 'adam'"),
        ({"mean": [0.5, 0.5]}, "needs 3 values"),
        ({"std": [0.5, 0.5, 0]}, "std > 0"),
        ({"augmentation": {"flips": 1}}, r"where\.augmentation has no setting 'flips'; did you mean 'flip'"),
        ({"augmentation": {"flip": 1.5}}, r"augmentation\.flip = 1\.5 is not a probability"),
        ({"augmentation": {"erase_min": 0.3}}, "need 0 < min <= max < 1"),
        ({"weight_decay": -1}, "weight_decay = -1.0 is negative"),
        ({"gamma": 0}, "gamma = 0.0"),
        ({"threads": 0}, "threads = 0"),
        ({"momentum": 1}, "momentum = 1.0"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(Recipe, values, "where")


def test_imbalance_below_one_is_refused() -> None:
    with pytest.raises(SpecError, match=r"imbalance factor = 0.5"):
        Imbalance(factor=0.5)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load(name: str) -> None:
    recipe = load_preset(name)
    assert isinstance(recipe, Recipe) and load_preset(name, epochs=None) == recipe
    assert load_preset(name, epochs=3) == dataclasses.replace(recipe, epochs=3)


def test_added_settings_change_no_key_of_before() -> None:
    before = spec()
    assert "rotate" not in before.canonical and restore(json.loads(before.canonical), "spec.json") == before
    turned = spec(recipe=Recipe(augmentation=Augmentation(rotate=5.0)))
    assert '"rotate":5.0' in turned.canonical and '"shift"' not in turned.canonical
    assert restore(json.loads(turned.canonical), "spec.json") == turned


def test_a_preset_with_a_base(tmp_path: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "quick"\nepochs = 3\n[augmentation]\nrotate = 10\n')
    quick = load_preset("quick")
    augmentation = dataclasses.replace(quick.augmentation, rotate=10.0)
    assert load_preset(str(path)) == dataclasses.replace(quick, epochs=3, augmentation=augmentation)
    path.write_text('base = "quik"\n')
    with pytest.raises(SpecError, match=r"mine\.toml: base = \"quik\" is not a preset.*did you mean 'quick'"):
        load_preset(str(path))


def test_a_preset_of_ones_own(tmp_path: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 5\n[augmentation]\nflip = 0.0\n")
    assert load_preset(str(path)) == Recipe(epochs=5, augmentation=Augmentation(flip=0.0))
    path.write_text("epochs = \n")
    with pytest.raises(SpecError, match=r"mine\.toml is not valid TOML.*line 1"):
        load_preset(str(path))
    with pytest.raises(SpecError, match=r"unknown preset 'quik'; did you mean 'quick'"):
        load_preset("quik")
    with pytest.raises(SpecError, match="cannot read"):
        load_preset(str(tmp_path / "absent.toml"))


def test_nearest() -> None:
    assert nearest("jocr", ["jocor", "nla"]) == "; did you mean 'jocor'?"
    assert nearest("zzz", ["b", "a"]) == "; there are: a, b"
    assert nearest("zzz", []) == ""
    assert nearest("NLA", ["nla", "Jocor"]) == "; did you mean 'nla'?"
    assert nearest("jocor", ["nla", "Jocor"]) == "; did you mean 'Jocor'?"


def test_nearest_never_lists_more_than_a_person_reads() -> None:
    many = [f"net_{number}" for number in range(1000)]
    assert nearest("net_7x", many, 3) == "; did you mean 'net_7', 'net_97' or 'net_87'?"
    far = nearest("qqqqqqqq", many, 5)
    assert far.startswith("; the nearest of 1,000 are: net_") and far.count("net_") == 5
    assert nearest("qqqqqqqq", many[:100], 5).count("net_") == 100


# --- convert ------------------------------------------------------------------------------------------------------


@given(st.integers())
def test_convert_int(value: int) -> None:
    assert convert(int, value, "x") == value and type(convert(int, value, "x")) is int


def test_convert_numbers_of_numpy() -> None:
    assert type(convert(int, np.int64(3), "x")) is int and type(convert(float, np.float32(0.5), "x")) is float
    for wrong in (np.bool_(True), np.float64(2.0)):
        with pytest.raises(SpecError, match="is not of type int"):
            convert(int, wrong, "x")


@given(st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False))
def test_convert_float(value: float) -> None:
    result = convert(float, value, "x")
    assert type(result) is float and result == value


@given(st.one_of(st.text(), st.booleans(), st.none(), st.lists(st.integers())))
def test_convert_refuses_what_is_no_number(value: Any) -> None:
    for hint in (int, float):
        with pytest.raises(SpecError, match="x = "):
            convert(hint, value, "x")


@given(st.none() | st.integers())
def test_convert_optional(value: int | None) -> None:
    assert convert(int | None, value, "x") == value


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_convert_tuple(value: list[float]) -> None:
    assert convert(tuple[float, float, float], value, "x") == tuple(value)
    assert convert(tuple[float, ...], value, "x") == tuple(value)


@given(st.text(max_size=5))
def test_convert_literal(value: str) -> None:
    if value in ("adam", "sgd"):
        assert convert(Literal["adam", "sgd"], value, "x") == value
    else:
        with pytest.raises(SpecError):
            convert(Literal["adam", "sgd"], value, "x")
