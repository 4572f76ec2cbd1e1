"""Landmarks in a file beside the images: what it may hold, which runs it changes, and what says that it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fer_bench.cli.main import main
from fer_bench.core.errors import DataError
from fer_bench.data.catalog import DATASETS
from fer_bench.data.check import check
from fer_bench.data.contact_sheet import COLOURS, SIDE, draw
from fer_bench.data.dataset import Manifest
from fer_bench.data.open import open_dataset
from fer_bench.data.points import MIRRORED, POINTS, from_68, mirrored
from fer_bench.data.sources import ArraySource
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request
from tests.helpers.commands import numbers
from tests.helpers.layouts import VOTES, lay_ferplus

ROWS = [f"row{row:05d}" for row in range(len(VOTES))]
MIRRORED_68 = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
]  # fmt: skip
"""The places of iBUG's 68 points in a mirrored face (0-based)."""


def face() -> np.ndarray:
    """19 points of an upright frontal face, [19, 2]."""
    x = [0.15, 0.25, 0.4, 0.6, 0.75, 0.85, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.4, 0.5, 0.6, 0.35, 0.5, 0.65, 0.5]
    y = [0.3, 0.25, 0.3, 0.3, 0.25, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6, 0.6, 0.6, 0.75, 0.75, 0.75, 0.95]
    return np.array([x, y], dtype=np.float32).T


def points(count: int) -> np.ndarray:
    """Faces [count, 19, 2] that differ."""
    return face() + np.linspace(0, 0.04, count, dtype=np.float32)[:, None, None]


def save(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lay_ferplus(tmp_path)
    return tmp_path


def test_ids_decide_and_not_the_order_of_the_file(root: Path) -> None:
    bare = open_dataset("ferplus", root)
    given = points(6)
    names = np.array([*ROWS[::-1], "stranger"])
    rows = np.concatenate([given[::-1], given[:1]])
    save(root / "fer2013" / "landmarks.npz", ids=names, points=rows, found=names != ROWS[5])
    faces = open_dataset("ferplus", root)
    assert bare.landmarks is None and faces.landmarks is not None and faces.landmarks_ok is not None
    assert faces.ids.tolist() == ["row00000", "row00005"], "the others have no majority among the seven"
    assert faces.landmarks_ok.tolist() == [True, False]
    assert faces.landmarks.dtype == np.float32 and np.array_equal(faces.landmarks[0], given[0])
    assert not faces.landmarks[1].any(), "no value of a face that was not found may reach a method"
    assert faces.fingerprint == bare.fingerprint and faces.folder == bare.folder and len(faces.landmarks_file) == 64

    save(root / "fer2013" / "landmarks.npz", ids=np.array(ROWS[:1]), points=given[:1])
    again = open_dataset("ferplus", root)
    assert again.landmarks_file == faces.landmarks_file, "the same points of the same images"
    save(root / "fer2013" / "landmarks.npz", ids=np.array(ROWS[:1]), points=given[:1] + np.float32(0.01))
    assert open_dataset("ferplus", root).landmarks_file != faces.landmarks_file
    plus8 = open_dataset("ferplus8", root)
    assert plus8.landmarks is not None, "one file serves every label set of the same images"


def test_without_found_a_face_with_nan_is_not_found(root: Path) -> None:
    given = points(6)
    given[0, 7] = np.nan
    save(root / "fer2013" / "landmarks.npz", ids=np.array(ROWS), points=given)
    faces = open_dataset("ferplus", root)
    assert faces.landmarks_ok is not None and faces.landmarks_ok.tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": None}, "no array 'points'; found ids"),
        ({"ids": None}, "no array 'ids'; found points"),
        ({"points": points(6)[:, :5]}, r"5 points a face, but 19 in the order of AFLW"),
        ({"points": points(6)[..., :1]}, r"'points' must be numbers \[N, 19, 2\], found float32 \[6, 19, 1\]"),
        ({"points": points(6) * 48}, r"'row00000': landmarks must be fractions .*, not pixels \(found 7.2 to"),
        ({"points": points(5)}, r"'ids' \[6\], 'points' \[5, 19, 2\] and 'found' bool \[5\] must be of one length"),
        ({"found": np.ones(6)}, r"'found' float64 \[6\] must be .* of type bool"),
        ({"points": np.full((6, 19, 2), np.nan), "found": np.ones(6, bool)}, "'row00000': landmarks must be finite"),
        ({"ids": np.arange(6)}, r"'ids' must be strings \[N\], found int64 \[6\]"),
        ({"ids": np.array([*ROWS[:5], ROWS[0]])}, "1 ids appear more than once, first 'row00000'"),
        (
            {"ids": np.array([f"fer{n:07d}.png" for n in range(6)])},
            "none of its 6 ids is an image of the data set; its first is 'fer0000000.png', that of the data set 'row0",
        ),
    ],
)
def test_a_wrong_file_says_what_is_wrong(root: Path, change: dict[str, Any], message: str) -> None:
    arrays = {"ids": np.array(ROWS), "points": points(6), **change}
    path = save(root / "fer2013" / "landmarks.npz", **{name: a for name, a in arrays.items() if a is not None})
    with pytest.raises(DataError, match=f"{path}.*{message}"):
        open_dataset("ferplus", root)


def test_a_file_that_is_none(root: Path) -> None:
    path = root / "fer2013" / "landmarks.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"landmarks\.npz: not an \.npz file of arrays"):
        open_dataset("ferplus", root)
    with path.open("wb") as handle:
        np.save(handle, points(6))
    with pytest.raises(DataError, match=r"landmarks\.npz: not an \.npz file of arrays"):
        open_dataset("ferplus", root)


def test_two_sources_of_landmarks_are_an_error(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8), len(name)).save(tmp_path / name)
    table = tmp_path / "faces.csv"
    table.write_text('path,label,split,landmarks\na.png,x,train,"[[0, 0]]"\nb.png,y,test,\n')
    save(tmp_path / "landmarks.npz", ids=np.array(["a.png"]), points=points(1))
    with pytest.raises(DataError, match=r"landmarks\.npz: faces has landmarks of its own"):
        open_dataset(str(table), None)
    table.write_text("path,label,split\na.png,x,train\nb.png,y,test\n")
    faces = open_dataset(str(table), None)
    assert faces.landmarks_ok is not None and faces.landmarks_ok.tolist() == [True, False]


PLUGIN = """
from fer_bench.method import Info, Method, Needs
class Toy(Method):
    info = Info(title="Toy", authors="A", venue="none", year=2020, idea="none", kind="baseline")
    @classmethod
    def needs(cls, config):
        return Needs(landmarks=True)
    def loss(self, batch, run):
        assert bool(batch.landmarks_ok.any()) and not bool(batch.landmarks_ok.all())
        return self.net(batch.view()).square().mean() + batch.landmarks.mean()
"""


@pytest.mark.slow
def test_only_runs_that_learn_landmarks_change(faces_folder: Path, tmp_path: Path) -> None:
    data, plugins = tmp_path / "faces", tmp_path / "plugins"
    data.mkdir()
    for child in faces_folder.iterdir():
        (data / child.name).symlink_to(child)
    plugins.mkdir()
    (plugins / "learns.py").write_text(PLUGIN)
    request = Request(["ce", "learns"], dataset=str(data), plugins=[str(plugins)], overrides={"image_size": 32})
    before = make_plan(request)
    assert [run.spec.method for run in before.runs] == ["ce"]
    assert "learns: needs 19 landmarks a face" in before.skipped[0] and "data landmarks" in before.skipped[0]
    ids = open_dataset(str(data), None).ids
    save(data / "landmarks.npz", ids=ids[::2], points=points(len(ids[::2])))
    after = make_plan(request)
    assert after.runs[0].spec.key == before.runs[0].spec.key, "cross-entropy sees no landmarks"
    assert after.runs[1].spec.landmarks == after.dataset.landmarks_file != ""
    save(data / "landmarks.npz", ids=ids[::2], points=points(len(ids[::2]))[::-1])
    assert make_plan(request).runs[1].spec.key != after.runs[1].spec.key, "other points are another run"
    out = tmp_path / "results"
    common = ["--dataset", str(data), "--plugins", str(plugins), "--out", str(out), "--jobs", "1", "--device", "cpu"]
    done = CliRunner().invoke(
        main, ["run", "--methods", "learns", "--epochs", "1", "--image-size", "32", *common], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert len(numbers(out)) == 1


def test_the_command_takes_pixels_and_the_layout_of_68(root: Path) -> None:
    given = np.zeros((6, 68, 2))
    given[:, :, 0], given[:, :, 1] = np.arange(68), 24
    given[:, 36:42, 1], given[:, 62, 0] = [20, 21, 22, 23, 24, 25], 2
    source = save(root / "found.npz", points=given)
    common = ["data", "landmarks", str(source), "--dataset", "fer2013", "--data-root", str(root)]
    done = CliRunner().invoke(main, [*common, "--frame", "96,48"], catch_exceptions=False)
    assert done.exit_code == 0 and "landmarks of 6 of 6 images of fer2013" in done.output, done.output
    faces = open_dataset("ferplus", root)
    assert faces.landmarks is not None and faces.landmarks.shape == (2, 19, 2)
    x = faces.landmarks[0, :, 0] * 96
    assert x == pytest.approx(
        [17, 19, 21, 22, 24, 26, 36, 38.5, 39, 42, 44.5, 45, 31, 30, 35, 48, (2 + 66) / 2, 54, 8], rel=1e-6
    )
    assert faces.landmarks[0, 7, 1] * 48 == pytest.approx(22.5) and faces.landmarks[0, 6, 1] * 48 == pytest.approx(20)
    again = CliRunner().invoke(main, common)
    assert again.exit_code == 2 and "is there already" in again.output


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"points": points(4)}, (), "4 rows and no array 'ids', but the data set has 6 images"),
        ({"points": points(6) * 48}, (), "must be fractions of width and height, not pixels"),
        ({"points": points(6)}, ("--frame", "0"), "--frame [0.0]: one side or width,height, above 0"),
        ({"points": points(6)}, ("--dataset", "synthetic"), "drawn faces have landmarks of their own"),
        ({"points": points(6)[:, :5]}, (), "5 points a face, but 19"),
    ],
)
def test_the_command_writes_nothing_that_is_wrong(
    root: Path, arrays: dict[str, Any], options: tuple[str, ...], message: str
) -> None:
    source = save(root / "found.npz", **arrays)
    done = CliRunner().invoke(
        main, ["data", "landmarks", str(source), "--dataset", "fer2013", "--data-root", str(root), *options]
    )
    assert done.exit_code == 2 and message in " ".join(done.output.split()), done.output
    assert not (root / "fer2013" / "landmarks.npz").exists()


def test_the_choice_from_68_points_commutes_with_the_mirror() -> None:
    given = np.random.default_rng(0).random((3, 68, 2))
    flip = np.array([-1, 1])
    ours = from_68(given)[:, list(MIRRORED)] * flip
    assert from_68(given[:, MIRRORED_68] * flip) == pytest.approx(ours)


def test_names_and_mirror_agree() -> None:
    swap = {"left": "right", "right": "left"}
    for here, there in enumerate(MIRRORED):
        words = POINTS[here].split()
        assert POINTS[there].split() == [swap.get(word, word) for word in words]


def manifest(given: np.ndarray | None, found: np.ndarray | None = None) -> Manifest:
    count = 4 if given is None else len(given)
    frames = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), dtype=np.uint8)
    split = np.array(["train", "train", "val", "test"][:count])
    ok = None if given is None else np.ones(count, dtype=bool) if found is None else found
    return Manifest(
        "tiny", ("a", "b"), np.array(list("pqrs")[:count]), split, np.array([0, 1, 0, 0]), source=ArraySource(frames),
        landmarks=given, landmarks_ok=ok,
    )  # fmt: skip


def test_check_counts_faces_with_landmarks() -> None:
    report = check(manifest(points(4), np.array([True, False, True, False])))
    assert report.located == {"train": (1, 0), "val": (1, 0), "test": (0, 0)}
    assert report.misplaced == () and check(manifest(None)).located is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (points(4) * np.float32([-1, 1]) + np.float32([1, 0]), "point 0 (left brow, outer end) is not left of point 5"),
        (points(4) * np.float32([1, -1]) + np.float32([0, 1]), "point 13 (nose, tip) is not above point 16"),
        (points(4)[:, ::-1], "point 15 (mouth, left corner) is not left of point 17 (mouth, right corner)"),
        (points(4)[:, :5], "5 points a face; methods take 19"),
    ],
)
def test_check_knows_a_wrong_order(given: np.ndarray, message: str) -> None:
    assert message in "\n".join(check(manifest(given)).warnings)


def test_check_counts_single_faces_that_are_turned() -> None:
    given = points(4)
    given[0, :, 0] = 1 - given[0, :, 0]
    assert check(manifest(given)).misplaced == ("landmarks: faces whose left eye is not left of the right one: 1",)
    assert check(manifest(given, np.zeros(4, bool))).misplaced == ("landmarks: not found in any face",)


def test_the_sheet_shows_a_face_and_its_mirror_with_left_points_on_the_left() -> None:
    sheet = np.asarray(draw(manifest(points(4)[:1])))
    assert sheet.shape == (SIDE, 8 * SIDE, 3)
    for start in (0, SIDE):
        tile = sheet[:, start : start + SIDE]
        columns = {side: np.nonzero((tile == colour).all(2))[1].mean() for side, colour in COLOURS.items()}
        assert columns["left"] < SIDE / 2 < columns["right"]
    assert mirrored(mirrored(face())) == pytest.approx(face())
    assert np.asarray(draw(manifest(None))).shape == (SIDE, 8 * SIDE, 3), "without landmarks: the faces alone"


def test_the_card_of_every_data_set_on_disk_says_where_the_file_goes() -> None:
    for name, entry in DATASETS.items():
        text = " ".join(CliRunner().invoke(main, ["datasets", name]).output.split())
        assert (f"<root>/{entry.folder}/landmarks.npz" in text) == (not entry.drawn), text
        assert entry.drawn or f"<root>/{entry.folder}/" in entry.layout, "the folder of the layout"
