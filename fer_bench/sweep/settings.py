"""Settings files: the values that a search chose for each method, as ``fer-bench run --settings FILE`` uses them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.files import file_checksum
from fer_bench.core.presets import preset_path, read_toml
from fer_bench.core.schema import build, convert
from fer_bench.core.variant import OWN_RECIPE, Variant
from fer_bench.plugins.registry import unknown_method

DEFAULT = "default"
"""Value of ``--settings`` for the defaults of the methods and of the recipe."""

SETTINGS = "settings.toml"
"""The settings file in the folder of a tuning."""

HEADER = "# Settings that `fer-bench tune` chose. To use them: fer-bench run --settings FILE …\n"


@dataclass(frozen=True)
class MethodSettings:
    """The setting of one method, and how it was found.

    Attributes:
        settings: Hyper-parameters, by name. Empty for the defaults.
        recipe: Settings of the recipe for this method alone, by name. Empty for those of the recipe.
        trial: Number of the chosen trial; 0 for the defaults.
        trials: How many trials were finished.
        failed: How many trials were not, because a run of theirs failed.
        cost: Images forwarded and backwarded in one study, as a multiple of one cross-entropy run.
        validation: Accuracy of the chosen trial on noisy validation labels.
        default_validation: The same of the defaults; None if they failed.
        code: Hash of the method's code.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    trial: int | None = None
    trials: int | None = None
    failed: int | None = None
    cost: float | None = None
    validation: float | None = None
    default_validation: float | None = None
    code: str = ""


@dataclass(frozen=True)
class Tuning:
    """How the settings of a file were found. All fields are empty in a file that was written by hand."""

    sweep: str = ""
    data: str = ""
    fingerprint: str = ""
    conditions: tuple[str, ...] = ()
    backbone: str = ""
    image_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    train_size: int | None = None
    budget: float | None = None
    studies: int | None = None
    chosen_by: str = ""
    version: str = ""
    commit: str = ""
    created: str = ""


@dataclass(frozen=True)
class Settings:
    """The content of a settings file."""

    methods: Mapping[str, MethodSettings]
    tuning: Tuning = field(default_factory=Tuning)

    def to_toml(self, header: str = HEADER) -> str:
        """The file's text, below the comment ``header``. Fields without a value are left out."""
        parts = [header, "[tuning]\n" + _entries(self.tuning)]
        parts += [f"[methods.{key}]\n{_entries(each)}" for key, each in sorted(self.methods.items())]
        return "\n".join(parts)


@dataclass(frozen=True)
class SettingsFile:
    """A settings file that was read.

    Attributes:
        path: The file.
        content: What it holds.
        sha256: Hash of the file.
    """

    path: Path
    content: Settings
    sha256: str

    @property
    def note(self) -> str:
        """The file, its hash and how its settings were found, for the mark of a row."""
        tuning = self.content.tuning
        found = ""
        if tuning.chosen_by:
            where = f"{tuning.data} ({'; '.join(tuning.conditions)})"
            studies = "1 study" if tuning.studies == 1 else f"{tuning.studies} studies"
            found = f", chosen by {tuning.chosen_by} on {where}, budget {tuning.budget:g}, {studies}"
        return f"{self.path.name}, sha256 {self.sha256[:12]}{found}"

    def variant(self, method: str) -> Variant:
        """The setting of a method; the defaults, without a note, for a method that the file does not have."""
        found = self.content.methods.get(method)
        return Variant() if found is None else Variant(found.settings, found.recipe, note=self.note)

    def check(self, methods: Sequence[str], known: Iterable[str], overrides: Mapping[str, Any]) -> None:
        """Checks that a sweep can use the file.

        Args:
            methods: Keys of the methods of the sweep.
            known: Keys of all methods.
            overrides: Settings of the recipe that the request replaces for all methods.

        Raises:
            SpecError: The file names an unknown method, or contradicts an override.
        """
        for key, each in self.content.methods.items():
            require(key in known, f"{self.path}: [methods.{key}]: {unknown_method(key, known)}")
            for name in sorted(set(each.recipe) & set(overrides)) if key in methods else []:
                option = f"--{name.replace('_', '-')} {overrides[name]}"
                raise SpecError(
                    f"{option}, but {self.path} sets {key}.{name}; leave the option out, or use --settings default"
                )

    def without(self, names: Collection[str]) -> SettingsFile:
        """The file without these settings of the recipe."""

        def cut(each: MethodSettings) -> MethodSettings:
            return replace(each, recipe={name: value for name, value in each.recipe.items() if name not in names})

        methods = {key: cut(each) for key, each in self.content.methods.items()}
        return replace(self, content=replace(self.content, methods=methods))

    def check_used(self, methods: Sequence[str]) -> None:
        """SpecError if the file has a setting of none of the methods."""
        there = sorted(self.content.methods)
        used = set(there) & set(methods)
        require(bool(used), f"{self.path} has settings of {', '.join(there)}, and of none of {', '.join(methods)}")


def read_settings(path: Path) -> SettingsFile:
    """Reads a settings file.

    Raises:
        SpecError: The file cannot be read, is not TOML, or has other tables and fields than a settings file.
    """
    values = read_toml(path)
    for name in values:
        require(
            name in ("tuning", "methods"), f"{path}: unknown table [{name}]; there are [tuning] and [methods.METHOD]"
        )
    methods = values.get("methods", {})
    tables = isinstance(methods, Mapping) and all(isinstance(each, Mapping) for each in methods.values())
    require(tables and bool(methods), f"{path}: the settings of a method are a table [methods.METHOD]; there is none")
    tuning = build(Tuning, _table(values.get("tuning", {}), f"{path}: [tuning]"), f"{path}: [tuning]")
    found = {key: _method(each, f"{path}: [methods.{key}]") for key, each in methods.items()}
    return SettingsFile(path, Settings(found, tuning), file_checksum(path))


def settings_file(wanted: str | None, preset: str) -> SettingsFile | None:
    """The settings file of a request: the one that is named, else ``PRESET.settings.toml`` beside the preset's file.

    Args:
        wanted: Path of the file, DEFAULT for none, or None for the preset's own.
        preset: Name of the preset, or path of its file.
    """
    if wanted is not None:
        hint = "it names a file, or `default`; --set sets a hyper-parameter"
        require(wanted == DEFAULT or Path(wanted).is_file(), f"--settings {wanted}: no such file; {hint}")
        return None if wanted == DEFAULT else read_settings(Path(wanted))
    own = preset_path(preset).with_suffix(".settings.toml")
    return read_settings(own) if own.exists() else None


def _method(values: Mapping[str, Any], where: str) -> MethodSettings:
    for name in ("settings", "recipe"):
        _table(values.get(name, {}), f"{where}.{name}")
    found = build(MethodSettings, values, where)
    for name, value in found.recipe.items():
        if name not in OWN_RECIPE:
            near = nearest(name, OWN_RECIPE)
            raise SpecError(f"{where}.recipe: {name!r} is equal for all methods, and not a setting of one{near}")
        convert(float, value, f"{where}.recipe.{name}")
    return found


def _table(value: Any, where: str) -> Mapping[str, Any]:
    require(isinstance(value, Mapping), f"{where} = {value!r} is no table")
    return value


def _entries(fields: Any) -> str:
    values = {each.name: getattr(fields, each.name) for each in dataclasses.fields(fields)}
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items() if value not in (None, "", ()))


def _toml(value: Any) -> str:
    """A plain value as TOML on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_toml(each)}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return (
        repr(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else json.dumps(value, ensure_ascii=False)
    )
