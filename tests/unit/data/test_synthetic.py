"""The embedded data set: the same faces everywhere, true labels that follow from what is drawn."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.synthetic import dataset as synthetic
from fer_bench.data.synthetic.geometry import AUS, geometry, landmarks

FLIP = [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18]  # LA-Net's permutation of the 19 points
GOLDEN = "1e4aae9d17aba7d9e4a9840259f4bd51090f68d0e86b9609523876cc242ec619"
GOLDEN_PARAMETERS = "1913cfbff9eb565c6ec595527cc95c58f3c6407668e8878438ee96590f092e41"
MIDDLE = {name: np.array([(low + high) / 2], np.float32) for name, (low, high) in synthetic.IDENTITY.items()}
MIDDLE |= {name: np.array([(low + high) / 2], np.float32) for name, (low, high) in synthetic.IMAGE.items()}
MIDDLE |= {"beard": np.zeros(1, np.float32), "glasses": np.zeros(1, np.float32), "noise": np.zeros(1, np.float32)}


@pytest.fixture(scope="module")
def faces() -> Manifest:
    return synthetic.read()


@pytest.fixture(scope="module")
def natural() -> Manifest:
    return synthetic.read("synthetic-natural")


def posed(**units: float) -> synthetic.FaceParameters:
    """One average face with the action units given as au12=1.0."""
    aus = np.array([[units.get(f"au{unit}", 0.0) for unit in AUS]], np.float32)
    return synthetic.FaceParameters(
        MIDDLE, aus, np.eye(7, dtype=np.float32)[:1], np.zeros(1, np.int64), np.array(["x"])
    )


def drawn(face: synthetic.FaceParameters, size: int = 96) -> np.ndarray:
    return synthetic.Renderer(face, np.array(["test/x"]), 0).pixels([0], size)[0].astype(int)


def test_pixels_are_those_of_the_golden_hash(faces: Manifest) -> None:
    total = hashlib.sha256()
    for size in (32, 48, 64, 100, 224):
        total.update(faces.source.pixels([0, 1, 2999, 3000, 4299], size).tobytes())
    assert total.hexdigest() == GOLDEN


def test_parameters_are_those_of_the_golden_fingerprint(faces: Manifest) -> None:
    assert faces.fingerprint() == GOLDEN_PARAMETERS


def test_a_face_does_not_depend_on_its_chunk(faces: Manifest) -> None:
    rows = [7, 3001, 0, 42, 4000, 7, *range(100, 115)]
    together = faces.source.pixels(rows, 64)
    alone = np.concatenate([faces.source.pixels([row], 64) for row in rows])
    assert np.array_equal(together, alone)
    assert np.array_equal(together[0], together[5])


def test_a_face_does_not_depend_on_how_many_there_are(faces: Manifest) -> None:
    row = 1234
    person = f"train/{row // synthetic.IMAGES_PER_IDENTITY:05d}"
    one = synthetic.sample([int(faces.label[row])], [str(faces.ids[row])], [person], 0)
    picture = synthetic.Renderer(one, faces.ids[[row]], 0).pixels([0], 48)
    assert np.array_equal(picture, faces.source.pixels([row], 48))


def test_another_seed_is_another_population(faces: Manifest) -> None:
    other = synthetic.read(seed=1)
    assert not np.array_equal(other.source.pixels([0], 48), faces.source.pixels([0], 48))
    assert not set(other.source.digest(range(20))) & set(faces.source.digest(range(20)))


@pytest.mark.parametrize("fixture", ["faces", "natural"])
def test_annotations_agree_with_each_other(fixture: str, request: pytest.FixtureRequest) -> None:
    manifest: Manifest = request.getfixturevalue(fixture)
    share = manifest.distribution
    assert share is not None and share.dtype == np.float32 and share.shape == (len(manifest), 7)
    assert np.abs(share.sum(axis=1) - 1).max() < 1e-6 and share.min() >= 0
    assert np.array_equal(share.argmax(axis=1), manifest.label) and manifest.label.dtype == np.int64
    ordered = np.sort(share, axis=1)
    assert (ordered[:, -1] > ordered[:, -2]).all()  # no tie: the label is the argmax, not a tie-break
    assert len(set(manifest.ids)) == len(manifest)
    assert manifest.landmarks_ok is not None and manifest.landmarks_ok.all()
    assert {split: len(manifest.rows(split)) for split in manifest.expected} == dict(manifest.expected)


def test_nobody_is_in_two_splits(faces: Manifest) -> None:
    source = faces.source
    assert isinstance(source, synthetic.Renderer)
    shapes = np.stack([source.faces.values[name] for name in synthetic.IDENTITY], axis=1)
    people = {part: {row.tobytes() for row in shapes[faces.rows(part)]} for part in ("train", "val", "test")}
    assert not (people["train"] & people["val"] | people["train"] & people["test"] | people["val"] & people["test"])
    assert len(people["train"]) == -(-synthetic.COUNTS["synthetic"]["train"] // synthetic.IMAGES_PER_IDENTITY)


def test_classes_are_balanced(faces: Manifest) -> None:
    for part in ("train", "val", "test"):
        counts = np.bincount(faces.label[faces.rows(part)], minlength=7)
        assert counts.sum() == synthetic.COUNTS["synthetic"][part] and counts.max() - counts.min() <= 1


def test_natural_has_the_counts_of_raf_db(natural: Manifest) -> None:
    names = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    order = [synthetic.CLASSES.index(name) for name in names]
    train = np.bincount(natural.label[natural.rows("train")], minlength=7)
    test = np.bincount(natural.label[natural.rows("test")], minlength=7)
    assert train[order].tolist() == [1290, 281, 717, 4772, 1982, 705, 2524]
    assert test[order].tolist() == [329, 74, 160, 1185, 478, 162, 680]
    assert len(natural.rows("val")) == 0


def test_settings_are_tuned_on_other_people(faces: Manifest) -> None:
    tuning = synthetic.read("synthetic-tuning")
    assert [len(tuning.rows(part)) for part in ("train", "val", "test")] == [4000, 0, 1000]
    people = []
    for manifest in (faces, tuning):
        source = manifest.source
        assert isinstance(source, synthetic.Renderer)
        shapes = np.stack([source.faces.values[name] for name in synthetic.IDENTITY], axis=1)
        people.append({row.tobytes() for row in shapes})
    assert len(people[1]) > 300 and not people[0] & people[1]


def test_landmarks_are_inside_and_ordered(faces: Manifest) -> None:
    points = faces.landmarks
    assert points is not None and points.shape == (len(faces), 19, 2) and points.dtype == np.float32
    inside = ((points > 0) & (points < 1)).all(axis=2)
    assert inside[:, :18].mean() > 0.999 and inside.mean() > 0.98
    across = points[:, [0, 1, 2, 3, 4, 5], 0], points[:, [6, 7, 8, 9, 10, 11], 0], points[:, [12, 13, 14], 0]
    assert all((np.diff(xs, axis=1) > 0).all() for xs in (*across, points[:, [15, 16, 17], 0]))
    heights = points[:, :, 1]
    assert (heights[:, 7] > heights[:, 1]).all() and (heights[:, 13] > heights[:, 7]).all()
    assert (heights[:, 18] > heights[:, 16]).all()


def test_a_turned_face_mirrors_its_landmarks() -> None:
    turned = MIDDLE | {
        name: np.array([value], np.float32)
        for name, value in {"yaw": 0.7, "roll": 0.05, "shift_x": 0.04, "skew": 0.02, "pitch": -0.5}.items()
    }
    other = turned | {name: -turned[name] for name in ("yaw", "roll", "shift_x", "skew")}
    aus = np.full((1, len(AUS)), 0.3, np.float32)
    here, there = landmarks(turned, geometry(turned, aus)), landmarks(other, geometry(other, aus))
    there = there[:, FLIP]
    there[..., 0] = 1 - there[..., 0]
    assert np.abs(here - there).max() < 1e-5


@pytest.mark.parametrize("size", [32, 33, 48, 112, 224])
def test_sizes(faces: Manifest, size: int) -> None:
    picture = faces.source.pixels([0, 5], size)
    assert picture.shape == (2, 3, size, size) and picture.dtype == np.uint8 and picture.std() > 10


@pytest.mark.parametrize("size", [0, 31, 225])
def test_sizes_out_of_range_are_refused(faces: Manifest, size: int) -> None:
    with pytest.raises(DataError, match="32 to 224"):
        faces.source.pixels([0], size)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(DataError, match="synthetic-natural"):
        synthetic.read("synthetic-faces")


def test_the_same_picture_at_two_sizes(faces: Manifest) -> None:
    large = faces.source.pixels(range(8), 128).astype(float)
    small = faces.source.pixels(range(8), 64).astype(float)
    halved = large.reshape(8, 3, 64, 2, 64, 2).mean(axis=(3, 5))
    assert np.abs(halved - small).mean() < 12


@pytest.mark.parametrize(
    ("unit", "point", "axis", "sign"),
    [
        (1, 2, 1, -1),  # inner brow up
        (2, 0, 1, -1),  # outer brow up
        (4, 2, 1, 1),  # brow down
        (9, 12, 1, -1),  # nose wing up
        (12, 15, 1, -1),  # lip corner up
        (15, 15, 1, 1),  # lip corner down
        (20, 17, 0, 1),  # lips stretched
        (23, 17, 0, -1),  # lips tightened
        (26, 18, 1, 1),  # chin down
    ],
)
def test_an_action_unit_moves_its_landmark(unit: int, point: int, axis: int, sign: int) -> None:
    moved = posed(**{f"au{unit}": 1.0}).landmarks() - posed().landmarks()
    assert sign * moved[0, point, axis] > 0.01


@pytest.mark.parametrize(
    ("unit", "rows"),
    [(1, (0.1, 0.55)), (5, (0.3, 0.55)), (7, (0.3, 0.6)), (10, (0.3, 0.9)), (17, (0.55, 1.0)), (25, (0.55, 1.0))],
)
def test_an_action_unit_changes_its_region_only(unit: int, rows: tuple[float, float]) -> None:
    change = np.abs(drawn(posed(**{f"au{unit}": 1.0})) - drawn(posed())).sum(axis=(0, 2))
    top, bottom = (int(edge * len(change)) for edge in rows)
    assert change[top:bottom].sum() > 200
    assert change[:top].sum() + change[bottom:].sum() <= 0.01 * change.sum()


def test_digests_are_of_the_face_not_of_the_row(faces: Manifest) -> None:
    shown = faces.subset(np.arange(len(faces)) >= 10)
    assert shown.source.digest([0, 1]) == faces.source.digest([10, 11])
    assert len(set(faces.source.digest(range(500)))) == 500
    source = faces.source
    assert isinstance(source, synthetic.Renderer)
    assert replace(source, seed=5).digest([0]) != source.digest([0])
