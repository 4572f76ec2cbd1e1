import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from fer_bench.core.errors import DataError
from fer_bench.core.spec import Noise
from fer_bench.data import imbalance
from fer_bench.data.dataset import Dataset
from fer_bench.data.noise import apply, files, instance, kinds, transition
from fer_bench.data.noise.numbers import ORDERS
from fer_bench.data.noise.summary import summary

RAF = np.array([1290, 281, 717, 4772, 1982, 705, 2524])
NAMES = ORDERS["RAF-DB"]
FROZEN = "79df3143305ed4bf731a7791467fd0780ad8707af8330260dbddf07b5ac6ae24"
"""Hash of a small draw: results of a later version can be compared only while it stays."""
MATRIX_KINDS = ["symmetric", "symmetric-inclusive", "pair", "class-dependent", "frequency", "confusion"]


def sample(counts):
    """Labels and ids with these class counts, named as RAF-DB names its training images."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels, np.array([f"train_{k + 1:05d}" for k in range(len(labels))])


def flat_pixels(rows, size):
    """Different random images for different rows."""
    return np.stack([np.random.default_rng(int(r)).integers(0, 256, (3, size, size), dtype=np.uint8) for r in rows])


class Toy(Dataset):
    """Images that are drawn where they are asked for."""

    draw = staticmethod(flat_pixels)

    def pixels(self, size):
        return self.draw(np.arange(len(self)), size)


def toy(labels, ids, classes=NAMES, draw=flat_pixels, **annotations):
    split = np.full(len(labels), "train")
    made = Toy("toy", tuple(classes), ids, split, labels, fingerprint="0" * 64, folder=Path(), **annotations)
    object.__setattr__(made, "draw", draw)
    return made


def corrupted(labels, ids, classes=NAMES, *, kind, rate=0.0, mode="exact", seed=0, file=None, **options):
    noise = Noise(kind, rate, mode)
    object.__setattr__(noise, "mode", mode)
    return apply.corrupt(toy(labels, ids, classes, **options), np.arange(len(labels)), noise, seed, file)


@pytest.fixture(scope="module")
def confusion_csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("confusion") / "matrix.csv"
    values = np.random.default_rng(0).integers(1, 50, (7, 7))
    lines = [",".join(NAMES), *(",".join(map(str, row)) for row in values)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def corrupt(confusion_csv):
    def draw(labels, ids, kind, rate, **options):
        file = confusion_csv if kind == "confusion" else None
        return corrupted(labels, ids, kind=kind, rate=rate, file=file, **options)

    return draw


# --- transition matrices ---


@example("frequency", 1.0, 0)
@example("symmetric", 1.0, 0)
@given(st.sampled_from(MATRIX_KINDS), st.floats(0, 1), st.integers(0, 1000))
def test_rows_sum_to_one_and_the_diagonal_is_one_minus_the_rate(kind, rate, seed):
    rng = np.random.default_rng(seed)
    options = {"counts": rng.integers(1, 99, 7), "matrix": rng.random((7, 7)) + 0.01}
    matrix = transition.transition_matrix(kind, rate, NAMES, **options)
    assert matrix.dtype == np.float64 and matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(1), 1)
    wrong = rate * 6 / 7 if kind == "symmetric-inclusive" else rate
    np.testing.assert_allclose(np.diag(matrix), 1 - wrong, atol=1e-15)
    if rate == 0:
        assert (matrix == np.eye(7)).all()


def test_matrices_by_hand():
    np.testing.assert_allclose(transition.transition_matrix("symmetric", 0.3, 4)[0], [0.7, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(transition.transition_matrix("symmetric-inclusive", 0.4, 4)[0], [0.7, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(transition.transition_matrix("pair", 0.4, 3)[2], [0.4, 0, 0.6])
    frequency = transition.transition_matrix("frequency", 0.5, 3, counts=np.array([6, 3, 1]))
    np.testing.assert_allclose(frequency[1], [0.5 * 6 / 7, 0.5, 0.5 * 1 / 7])
    confusion = transition.transition_matrix("confusion", 0.2, 3, matrix=np.array([[90, 8, 2], [0, 5, 0], [1, 1, 0]]))
    np.testing.assert_allclose(confusion, [[0.8, 0.16, 0.04], [0, 1, 0], [0.1, 0.1, 0.8]])


def test_class_dependent_map_goes_by_name():
    assert transition.weights("class-dependent", NAMES).argmax(1).tolist() == [5, 0, 5, 6, 6, 2, 4]
    classes = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
    numbered = [f"{number}_{name.title()}" for number, name in enumerate(classes)]
    assert np.array_equal(
        transition.weights("class-dependent", numbered), transition.weights("class-dependent", classes)
    )
    matrix = transition.transition_matrix("class-dependent", 0.3, classes)
    for source, target in transition.SIMILAR.items():
        assert matrix[classes.index(source), classes.index(target)] == pytest.approx(0.3)
    assert matrix[7].tolist() == [0] * 7 + [1]
    with pytest.raises(ValueError, match="no disgust, sadness"):
        transition.transition_matrix("class-dependent", 0.3, ("anger", "fear", "happiness", "surprise", "neutral"))
    with pytest.raises(ValueError, match="has no anger"):
        transition.transition_matrix("class-dependent", 0.3, 7)


# --- drawing ---


@pytest.mark.parametrize("kind", [*MATRIX_KINDS, "instance"])
@pytest.mark.parametrize("mode", kinds.MODES)
def test_rate_zero_is_the_identity(corrupt, kind, mode):
    labels, ids = sample([20] * 7)
    given_labels = corrupt(labels, ids, kind, 0.0, mode=mode)
    assert (given_labels == labels).all() and given_labels is not labels
    assert (corrupted(labels, ids, NAMES, kind="none") == labels).all()


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3, 0.45])
def test_exact_mode_is_exact_in_all_and_in_each_class(corrupt, kind, rate):
    labels, ids = sample(RAF)
    found = summary(labels, corrupt(labels, ids, kind, rate), 7)
    wrong = rate * 6 / 7 if kind == "symmetric-inclusive" else rate
    assert sum(found["flips"]) == round(wrong * len(labels))
    assert np.abs(np.array(found["flips"]) - wrong * RAF).max() < 1


@pytest.mark.parametrize("kind", [*MATRIX_KINDS, "instance"])
@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_bernoulli_rate_lies_within_three_standard_errors(corrupt, kind, rate):
    labels, ids = sample(RAF // 3)
    found = summary(labels, corrupt(labels, ids, kind, rate, mode="bernoulli", seed=1), 7)
    wrong = rate * 6 / 7 if kind == "symmetric-inclusive" else rate
    assert abs(found["realised_rate"] - wrong) < 3 * np.sqrt(wrong * (1 - wrong) / len(labels))


@pytest.mark.parametrize("kind", ["symmetric", "frequency", "class-dependent", "pair"])
def test_wrong_labels_follow_the_matrix(corrupt, kind):
    labels, ids = sample(RAF)
    confusion = np.array(summary(labels, corrupt(labels, ids, kind, 0.4), 7)["confusion"])
    matrix = transition.transition_matrix(kind, 0.4, NAMES, counts=RAF)
    for label in range(7):
        others = (matrix[label] > 0) & (np.arange(7) != label)
        assert confusion[label][(matrix[label] == 0)].sum() == 0
        expected = matrix[label][others] / matrix[label][others].sum() * confusion[label][others].sum()
        assert others.sum() == 1 or chisquare(confusion[label][others], expected).pvalue > 1e-3


@settings(max_examples=60)
@given(
    st.sampled_from(["symmetric", "symmetric-inclusive", "pair", "class-dependent", "frequency"]),
    st.sampled_from(sorted(kinds.MODES)),
    st.lists(st.integers(0, 30), min_size=7, max_size=7),
    st.floats(0, 0.49),
    st.floats(0, 0.49),
    st.integers(0, 5),
)
def test_flips_are_nested_across_rates_with_the_same_wrong_label(kind, mode, counts, one, other, seed):
    labels, ids = sample(counts)
    low, high = (
        corrupted(labels, ids, NAMES, kind=kind, rate=rate, mode=mode, seed=seed) for rate in sorted((one, other))
    )
    wrong = low != labels
    assert (high[wrong] == low[wrong]).all()
    assert low.min(initial=0) >= 0 and low.max(initial=0) < 7 and low.dtype == np.int64


@pytest.mark.parametrize("kind", [*MATRIX_KINDS, "instance"])
@pytest.mark.parametrize("mode", kinds.MODES)
def test_file_order_changes_nothing(corrupt, kind, mode):
    labels, ids = sample([30, 5, 10, 40, 20, 9, 25])
    order = np.random.default_rng(3).permutation(len(ids))
    plain = corrupt(labels, ids, kind, 0.3, mode=mode)
    shuffled = corrupt(
        labels[order], ids[order], kind, 0.3, mode=mode, draw=lambda rows, size: flat_pixels(order[rows], size)
    )
    assert (shuffled == plain[order]).all()
    assert (plain != corrupt(labels, ids, kind, 0.3, mode=mode, seed=1)).any()


def test_draws_do_not_change_between_versions():
    labels, ids = sample([4] * 7)
    given_labels = corrupted(labels, ids, NAMES, kind="symmetric", rate=0.3, mode="bernoulli")
    assert hashlib.sha256(given_labels.astype("<i8").tobytes()).hexdigest() == FROZEN


def test_bernoulli_noise_of_an_image_does_not_depend_on_the_others():
    labels, ids = sample(RAF // 20)
    some = imbalance.keep(labels, ids, factor=50)
    whole = corrupted(labels, ids, NAMES, kind="symmetric", rate=0.3, mode="bernoulli")
    part = corrupted(labels[some], ids[some], NAMES, kind="symmetric", rate=0.3, mode="bernoulli")
    assert (part == whole[some]).all()


def test_imbalance_then_noise_leaves_the_clean_counts_as_designed():
    labels, ids = sample(RAF)
    kept = imbalance.keep(labels, ids, factor=50)
    given_labels = corrupted(labels[kept], ids[kept], NAMES, kind="symmetric", rate=0.2)
    found = summary(labels[kept], given_labels, 7)
    assert found["clean_counts"] == imbalance.targets(RAF, 50).tolist()
    assert found["noisy_imbalance"] == pytest.approx(9.9, rel=0.1)
    assert found["purity"][1] == pytest.approx(0.19, abs=0.03)


# --- instance-dependent ---


def test_part_dependent_probabilities():
    rng = np.random.default_rng(0)
    x, labels, projection = rng.normal(size=(9, 5)), np.arange(9) % 3, rng.normal(size=(3, 5, 3))
    q = np.linspace(0, 1, 9)
    found = instance.ptd_probabilities(x, labels, projection, q)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found[np.arange(9), labels], 1 - q)
    assert (found[0] == np.eye(3)[0]).all() and found[8, labels[8]] == 0
    one = np.exp(x[4] @ projection[1])
    np.testing.assert_allclose(found[4, [0, 2]], q[4] * one[[0, 2]] / one[[0, 2]].sum())


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3, 0.5, 0.8, 1.0])
def test_truncation_does_not_move_the_mean_rate(rate):
    q = instance.ptd_rates(rate, (np.arange(20000) + 0.5) / 20000)
    assert q.min() >= 0 and q.max() <= 1
    assert q.mean() == pytest.approx(rate, rel=1e-3)


def test_instance_noise_is_exact_and_depends_on_the_image(corrupt):
    labels, ids = sample([300] * 7)
    given_labels = corrupt(labels, ids, "instance", 0.3)
    assert (given_labels != labels).sum() == 630
    other = corrupt(labels, ids, "instance", 0.3, draw=lambda rows, size: flat_pixels(rows + 9999, size))
    # the same images are wrong, but the wrong label comes from the pixels
    assert ((given_labels != labels) == (other != labels)).all()
    assert (given_labels != other).mean() > 0.1
    twins = instance.ptd_probabilities(
        instance._grey(toy(labels[:2], ids[:2], draw=lambda rows, size: flat_pixels(rows * 0, size)), np.arange(2)),
        labels[:2],
        instance._projection(0, 7),
        np.ones(2),
    )
    assert (twins[0] == twins[1]).all()


def test_flat_images_have_no_preference():
    flat = toy(*sample([5]), draw=lambda rows, size: np.full((len(rows), 3, size, size), 7, dtype=np.uint8))
    x = instance._grey(flat, np.arange(5), chunk=2)
    assert x.shape == (5, instance.PTD_SIZE**2) and (x == 0).all()


def test_hardest_images_are_flipped_to_the_favourite_wrong_class(tmp_path):
    labels, ids = np.array([0, 0, 1, 2]), np.array(["a", "b", "c", "d"])
    probabilities = np.array([[0.9, 0.06, 0.04], [0.3, 0.1, 0.6], [0.45, 0.5, 0.05], [0.1, 0.2, 0.7]])
    np.savez(tmp_path / "p.npz", ids=ids[::-1], probabilities=probabilities[::-1])
    lines = ["id,z,x,y", *(f"{i},{p[2]},{p[0]},{p[1]}" for i, p in zip(ids, probabilities, strict=True))]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    for name in ("p.npz", "p.csv"):
        found = [
            corrupted(labels, ids, "xyz", kind="instance-hard", rate=rate, file=tmp_path / name).tolist()
            for rate in (0, 0.25, 0.5, 1)
        ]
        assert found == [[0, 0, 1, 2], [0, 2, 1, 2], [0, 2, 0, 2], [1, 2, 0, 1]]
    with pytest.raises(ValueError, match="bernoulli"):
        corrupted(labels, ids, "xyz", kind="instance-hard", rate=0.1, mode="bernoulli", file=tmp_path / "p.npz")
    np.savez(tmp_path / "bad.npz", ids=ids)
    for name in ("bad.npz", "absent.npz"):
        with pytest.raises(DataError, match=name):
            corrupted(labels, ids, "xyz", kind="instance-hard", rate=0.1, file=tmp_path / name)


# --- labels by people ---


def test_human_labels_where_there_are_any():
    labels, ids = sample([2, 2])
    assert corrupted(labels, ids, "xy", kind="human", human=np.array([1, -1, 0, 1])).tolist() == [1, 0, 0, 1]
    with pytest.raises(DataError, match="human"):
        corrupted(labels, ids, "xy", kind="human", human=np.array([1, -1, 0, 2]))
    with pytest.raises(DataError, match="needs human"):
        corrupted(labels, ids, "xy", kind="human")


def test_votes_are_drawn_as_often_as_they_were_cast():
    labels, ids = sample([3000, 3000])
    votes = np.tile([7, 3, 0], (6000, 1))
    votes[:3000] = 0
    given_labels = corrupted(labels, ids, "xyz", kind="votes", votes=votes)
    assert (given_labels[:3000] == labels[:3000]).all()
    share = np.bincount(given_labels[3000:], minlength=3) / 3000
    assert share[2] == 0 and share[0] == pytest.approx(0.7, abs=3 * np.sqrt(0.21 / 3000))
    with pytest.raises(DataError, match="votes"):
        corrupted(labels, ids, "xyz", kind="votes", votes=votes[:5])


# --- confusion matrices ---


def test_confusion_matrix_goes_by_name(tmp_path):
    expected = np.array([[8, 2, 0], [1, 9, 3], [0, 5, 5]])
    plain, named = tmp_path / "plain.csv", tmp_path / "named.csv"
    plain.write_text("x,y,z\n8,2,0\n1,9,3\n0,5,5\n")
    named.write_text("true,z,x,y\ny,3,1,9\nz,5,0,5\nx,0,8,2\n")
    for path in (plain, named):
        assert (files.read_matrix(path, ("x", "y", "z")) == expected).all()
    assert (files.read_matrix(plain, ("z", "y", "x")) == expected[::-1, ::-1]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n3,4\n", "must name the classes"),
        ("x,y,z\n1,2,3\n", "found 1 rows"),
        ("x,y,z\n1,2,3\n1,2,3\n1,2,-3\n", "none negative"),
        ("x,y,z\n1,2,3\n1,2,3\n1,2,nan\n", "finite"),
        ("x,y,z\n1,2,3\n1,2,3\n1,2,much\n", "much"),
        ("x,y,z\n1,2,3\n1,2,3\n1,2\n", "csv"),
        ("x,y,z\n", "header and rows"),
    ],
)
def test_bad_confusion_matrices_are_refused(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        files.read_matrix(path, ("x", "y", "z"))


# --- settings and summaries ---


def test_bad_settings_name_the_value_and_the_range():
    labels, ids = sample([3] * 7)

    def draw(**options):
        return corrupted(labels, ids, NAMES, **{"kind": "symmetric", "rate": 0.2, **options})

    for rate in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"rate = {rate} .* 0 to 1"):
            draw(rate=rate)
    with pytest.raises(ValueError, match=r"rate = 0.5 .* less than 0.5"):
        draw(kind="pair", rate=0.5)
    with pytest.raises(ValueError, match="did you mean 'symmetric'"):
        draw(kind="symetric")
    with pytest.raises(ValueError, match="did you mean 'exact'"):
        draw(mode="exakt")
    with pytest.raises(ValueError, match=r"takes no rate .* rate = 0.2"):
        draw(kind="human")
    for kind, what in (("confusion", "file"), ("instance-hard", "file")):
        for rate in (0, 0.2):
            with pytest.raises(DataError, match=f"needs {what}"):
                draw(kind=kind, rate=rate)
    with pytest.raises(ValueError, match="class counts"):
        transition.transition_matrix("frequency", 0.2, 3)
    with pytest.raises(ValueError, match="shape"):
        transition.transition_matrix("confusion", 0.2, 3, matrix=np.ones((2, 2)))
    with pytest.raises(ValueError, match="no transition matrix"):
        transition.transition_matrix("human", 0.2, 3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("symmetric", "symmetric"), ("sym", "symmetric"), ("uniform", "symmetric"), ("Symmetric", "symmetric"),
        ("pairflip", "pair"), ("pair_flip", "pair"), ("pair-flip", "pair"), ("idn", "instance"),
        ("instance_dependent", "instance"), ("symmetric_inclusive", "symmetric-inclusive"), ("clean", "none"),
        ("class_dependent", "class-dependent"), ("human-noise", "human"),
    ],
)  # fmt: skip
def test_the_names_of_papers_are_understood(name, kind):
    assert kinds.find_kind(name) == kind


@pytest.mark.parametrize("name", ["asymmetric", "asym", "flip", "Asymmetric"])
def test_a_name_of_several_kinds_is_explained(name):
    with pytest.raises(ValueError, match=rf"'{name}' noise is several kinds.*pair \(to the next.*or class-dependent"):
        kinds.find_kind(name)


def test_aliases_lead_to_kinds():
    assert set(kinds.ALIASES.values()) <= kinds.KINDS.keys()
    assert not (kinds.ALIASES.keys() | kinds.AMBIGUOUS.keys()) & kinds.KINDS.keys()


def test_every_kind_says_what_it_is():
    assert {kind.needs for kind in kinds.KINDS.values()} == {"", "pixels", "votes", "human", "file"}
    assert all(kind.about for kind in kinds.KINDS.values())


def test_summary_by_hand():
    found = summary(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 1]), 3)
    assert found == {
        "n": 6,
        "realised_rate": 0.5,
        "confusion": [[2, 1, 0], [1, 1, 0], [0, 1, 0]],
        "clean_counts": [3, 2, 1],
        "noisy_counts": [3, 3, 0],
        "noisy_imbalance": None,
        "purity": [pytest.approx(2 / 3), pytest.approx(1 / 3), None],
        "flips": [1, 1, 1],
    }
    json.dumps(summary(np.array([0, 1]), np.array([1, 1]), 3), allow_nan=False)
