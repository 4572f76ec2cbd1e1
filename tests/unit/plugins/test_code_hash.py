"""The hash of a method's code: what changes it, and that no version of Python does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_bench.plugins import code_hash as module
from fer_bench.plugins.code_hash import code_hash, source_hash
from fer_bench.plugins.registry import discover
from tests.helpers.plugins import LOSS, plugin_source

EXAMPLE = Path(__file__).with_name("code_example.txt")
"""A program with nearly every construct of Python 3.11."""

RECORDED = "6f544f188616"
"""Its hash. It may change with this project only, never with Python."""


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x = -1", "Module(body=[Assign(targets=[Name(id='x', ctx=Store())], value=UnaryOp(op=USub(), "
         "operand=Constant(int 1)))])"),
        ("f(None, é='ü')", "Module(body=[Expr(value=Call(func=Name(id='f', ctx=Load()), args=[Constant(NoneType "
         "None)], keywords=[keyword(arg='\\xe9', value=Constant(str '\\xfc'))]))])"),
        ("def f(*, a, b=1.50): ...", "Module(body=[FunctionDef(name='f', args=arguments(kwonlyargs=[arg(arg='a'), "
         "arg(arg='b')], kw_defaults=[None, Constant(float 1.5)]))])"),
        ("['', True]", "Module(body=[Expr(value=List(elts=[Constant(str ''), Constant(bool True)], ctx=Load()))])"),
        ("f'{x:{y}}'", "Module(body=[Expr(value=JoinedStr(FormattedValue(value=Name(id='x', ctx=Load()), "
         "conversion=-1, format_spec=JoinedStr(FormattedValue(value=Name(id='y', ctx=Load()), conversion=-1)))))])"),
    ],
)  # fmt: skip
def test_the_text_that_is_hashed(source: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(source, encoding="utf-8")
    assert module.hashed_text(tmp_path / "code.py") == text


def test_the_hash_is_that_of_every_version() -> None:
    assert source_hash(EXAMPLE.read_text(encoding="utf-8")) == RECORDED


OTHERS = [f"3.{minor}" for minor in range(11, 15) if minor != sys.version_info.minor]


PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("code_hash", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print("{}.{}".format(*sys.version_info), *(module.code_hash(module.Path(path)) for path in sys.argv[2:]))
"""


@pytest.mark.parametrize("version", OTHERS)
def test_other_versions_of_python_give_the_same_hashes(version: str) -> None:
    paths = [EXAMPLE, *(plugin.path for plugin in discover().values())]
    command = [f"python{version}", "-c", PROGRAM, str(module.__file__), *map(str, paths)]
    environment = {**os.environ, "PYENV_VERSION": version}  # pyenv starts the versions that it is told to
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"Python {version} is not installed")
    if ran.returncode == 127:  # pyenv has a command of that name and not that version
        pytest.skip(f"Python {version} is not installed")
    assert not ran.returncode, ran.stderr
    found, *hashes = ran.stdout.split()
    assert found == version and hashes == [code_hash(path) for path in paths]


DOCUMENTED = LOSS.replace("run):\n", 'run):\n    """What it does."""\n')
SOURCE = plugin_source(DOCUMENTED + "\n@classmethod\ndef remarks(cls, config):\n    return ()\n")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('idea="none"', 'idea="another", deviations=("one",), ensemble="mean"', True),
        ("return ()", 'return ("said",)', True),
        ('"""What it does."""', '"""Other words."""', True),
        ("class Toy(Method):", "# a comment\nclass Toy(Method):", True),
        ("F.cross_entropy(", "2 * F.cross_entropy(", False),
        ("def remarks(cls, config)", "def needs(cls, config)", False),
        ("class Toy(Method):", "remarks = 1\nclass Toy(Method):", False),
        ("class Toy(Method):", "def remarks(config):\n    return ()\nclass Toy(Method):", False),
        ("info = Info", "other = Info", False),
        ("batch.view()", "batch.view('weak')", False),
    ],
)
def test_the_code_hash_leaves_out_what_only_speaks(old: str, new: str, same: bool) -> None:
    assert old in SOURCE
    assert (source_hash(SOURCE.replace(old, new, 1)) == source_hash(SOURCE)) == same


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('info = Info(title="Toy", ', 'info = made_up(title="Toy", '),
        ("class Toy(Method):", "class Other:\n    info = Info(title='other')\nclass Toy(Method):"),
        ("class Toy(Method):", "class Other:\n    def remarks(self): pass\nclass Toy(Method):"),
        ("class Toy(Method):", "class Toy(Method, Mixin):"),
    ],
)
def test_only_the_description_in_the_method_class_is_left_out(old: str, new: str) -> None:
    """A call of something else may compute, and other classes may use what they call ``info``."""
    assert source_hash(SOURCE.replace(old, new, 1)) != source_hash(SOURCE)
    changed = SOURCE.replace(old, new, 1)
    again = changed.replace("made_up(title=", "made_up(name=").replace("'other'", "'another'").replace("pass", "None")
    assert again == changed or source_hash(again) != source_hash(changed)


def test_a_file_that_cannot_be_parsed_has_the_hash_of_its_text() -> None:
    assert len({source_hash(text) for text in ("def broken(:", "def broken(: ", "")}) == 3


IMPORTS = [
    ("import helper\n", "helper.py"),
    ("import helper as h\n", "helper.py"),
    ("from helper import loss\n", "helper.py"),
    ("from .helper import loss\n", "helper.py"),
    ("from . import helper\n", "helper.py"),
    ("import helper.parts\n", "helper/__init__.py"),
    ("import helper.parts\n", "helper/parts.py"),
    ("from helper import parts\n", "helper/parts.py"),
    ("from middle import x\n", "deep.py"),
    ("def later():\n    import helper\n", "helper.py"),
]


@pytest.mark.parametrize(("line", "helper"), IMPORTS)
def test_modules_that_it_imports_from_its_folder_are_part_of_the_hash(line: str, helper: str, tmp_path: Path) -> None:
    plugin, file = tmp_path / "mine.py", tmp_path / helper
    plugin.write_text(line + plugin_source(LOSS).replace("from __future__ import annotations", ""))
    (tmp_path / "middle.py").write_text("import deep\nimport middle\n")
    file.parent.mkdir(exist_ok=True)
    before = code_hash(plugin)
    file.write_text("def loss(x):\n    return x\n")
    (file.parent / "__init__.py").touch() if "/" in helper else None
    added = code_hash(plugin)
    file.write_text('def loss(x):\n    """Another word."""\n    return x\n')
    assert before != added == code_hash(plugin)
    file.write_text("def loss(x):\n    return 2 * x\n")
    assert code_hash(plugin) != added


def test_modules_of_a_package_are_named_from_its_top(tmp_path: Path) -> None:
    folder = tmp_path / "package" / "methods"
    folder.mkdir(parents=True)
    for name in ("package/__init__.py", "package/methods/__init__.py", "package/methods/helper.py"):
        (tmp_path / name).touch()
    (folder / "mine.py").write_text("from package.methods.helper import loss\n")
    before = code_hash(folder / "mine.py")
    (folder / "helper.py").write_text("loss = 1\n")
    assert code_hash(folder / "mine.py") != before


def test_other_files_of_the_folder_are_not(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("import torch\nfrom fer_bench.method import Method\n" + plugin_source(LOSS))
    before = code_hash(plugin)
    for name in ("method.py", "helper.py", "fer_bench.py"):
        (tmp_path / name).write_text("x = 1\n")
    assert code_hash(plugin) == before == source_hash(plugin.read_text())
