"""Archives: what goes in, what comes back, and what is refused before anything is written."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.errors import ArchiveError, SpecError, StoreError
from fer_bench.core.files import file_checksum
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import load_runs
from fer_bench.sweep import archive, archive_format
from fer_bench.sweep.archive import pack, unpack
from fer_bench.sweep.examine import examine
from fer_bench.sweep.record import Sweep, find_sweep
from tests.helpers.stored import SPEC, contents, finished_with_logits, pretend, record


def sweep_of(out: Path, folders: list[RunFolder], name: str = "mine", **changes: Any) -> Sweep:
    runs = [str(folder.path.relative_to(out)) for folder in folders]
    names = {Path(run).name: f"run {number}" for number, run in enumerate(runs)}
    content = {"name": name, "command": "fer-bench run", "runs": runs, "names": names, "skipped": [],
               "classes": {"synthetic": ["a", "b"]}, "created": "now", **changes}  # fmt: skip
    folder = out / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(content))
    (folder / "table.md").write_text("a table")
    (folder / "report.html").write_text("faces")
    return find_sweep(out, name)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """An archive of two finished runs; the sweep has a third one that is not."""
    out = tmp_path / "there"
    absent = RunFolder.of(out, replace(SPEC, seed=2))
    sweep = sweep_of(out, [finished_with_logits(out), finished_with_logits(out, 0.75, seed=1), absent])
    return pack(sweep, tmp_path / "mine.tar.gz").path


Change = Callable[[dict[str, bytes]], None]


def rewritten(source: Path, change: Change, honest: bool = True) -> Path:
    """The archive with other members; ``honest``: with a manifest that fits them."""
    with tarfile.open(source) as old:
        files = {m.name: old.extractfile(m).read() for m in old.getmembers()}  # type: ignore[union-attr]
    manifest = json.loads(files.pop("manifest.json"))
    change(files)
    if honest:
        manifest["files"] = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        }
    return written(source.with_name("other.tar.gz"), {"manifest.json": json.dumps(manifest).encode(), **files})


def written(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as new:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return path


def edited(file: str, change: Callable[[Any], None], lines: bool = False) -> Change:
    """Edits one JSON file of the first run."""

    def edit(files: dict[str, bytes]) -> None:
        name = min(name for name in files if name.endswith(file))
        values = [json.loads(line) for line in files[name].splitlines()] if lines else json.loads(files[name])
        change(values)
        text = "\n".join(map(json.dumps, values)) if lines else json.dumps(values)
        files[name] = text.encode()

    return edit


# --- packing ------------------------------------------------------------------------------------------------------


def test_an_archive_holds_records_and_tables_and_no_images(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as stored:
        names = stored.getnames()
    files = {Path(name).name for name in names if name.startswith("runs/")}
    assert files == {
        "spec.json",
        "env.json",
        "epochs.jsonl",
        "final.json",
        "scores.npz",
        "probe.npz",
        "sums.json",
        "log.txt",
    }
    assert names[0] == "manifest.json" and {"sweep/sweep.json", "sweep/table.md"} <= set(names)
    assert "sweep/report.html" not in names and len({str(Path(n).parent) for n in names if n.startswith("runs/")}) == 2
    sweep = find_sweep(tmp_path / "there", "mine")
    again = pack(sweep, tmp_path / "again.tar.gz")
    assert again.path.read_bytes() == packed.read_bytes() and (again.runs, again.left_out) == (2, 1)
    with tarfile.open(pack(sweep, tmp_path / "more.tar.gz", networks=True).path) as stored:
        assert sum(name.endswith("model.safetensors") for name in stored.getnames()) == 2


def test_nothing_finished_is_no_archive(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, [RunFolder.of(tmp_path, SPEC)])
    with pytest.raises(SpecError, match="no run of mine is finished"):
        pack(sweep, tmp_path / "x.tar.gz")
    sweep = sweep_of(tmp_path, [finished_with_logits(tmp_path)])
    sweep.save_records()
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(SpecError, match="the runs of mine are not on this machine, only their records"):
        pack(sweep, tmp_path / "x.tar.gz")
    assert not (tmp_path / "x.tar.gz").exists()


@pytest.mark.parametrize("name", ["faces (1)", "a\u3000b", "a\u00a0b", "mit Umlaut \u00e4", "\u8868\u60c5"])
def test_every_name_that_is_packed_is_unpacked(name: str, tmp_path: Path) -> None:
    out = tmp_path / "there"
    sweep = sweep_of(out, [finished_with_logits(out)], name, classes={f"{name}/data": [f"class {name}", "a\tb"]})
    assert unpack(pack(sweep, tmp_path / "x.tar.gz").path, tmp_path / "here").sweep == name
    assert find_sweep(tmp_path / "here", name).content == sweep.content


@pytest.mark.parametrize("odd", ["\x1b]0;owned\x07", "right\u202eleft", "\x85"])
def test_what_would_be_refused_is_not_packed(odd: str, tmp_path: Path) -> None:
    out = tmp_path / "there"
    sweep = sweep_of(out, [finished_with_logits(out)], classes={"faces": [odd]})
    with pytest.raises(ArchiveError, match=r"mine is not packed: its sweep.json is not one of a sweep: it holds"):
        pack(sweep, tmp_path / "x.tar.gz")
    assert not (tmp_path / "x.tar.gz").exists()


def test_a_damaged_run_is_not_packed(tmp_path: Path) -> None:
    run = finished_with_logits(tmp_path)
    sweep = sweep_of(tmp_path, [run])
    (run.path / "scores.npz").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"scores.npz is damaged .*; run the sweep's command again"):
        pack(sweep, tmp_path / "x.tar.gz")
    (run.path / "env.json").unlink()
    with pytest.raises(ArchiveError, match=r"is not packed: it has no env.json"):
        pack(sweep, tmp_path / "x.tar.gz")


# --- unpacking ----------------------------------------------------------------------------------------------------


def test_what_was_packed_comes_back(packed: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    merged = unpack(packed, here)
    assert (merged.sweep, merged.added, merged.known, merged.missing) == ("mine", 2, 0, 1)
    there = contents(tmp_path / "there" / "runs")
    expected = {name: text for name, text in there.items() if Path(name).name not in ("lock", "model.safetensors")}
    assert contents(here / "runs") == expected
    assert sorted(load_runs(here)["test_overall"]) == [0.5, 0.75]
    assert find_sweep(here, "mine").content == find_sweep(tmp_path / "there", "mine").content
    before = contents(here)
    again = unpack(packed, here)
    assert (again.added, again.known) == (0, 2) and contents(here) == before
    assert not list(here.glob(".unpack-*"))


def test_a_run_measured_here_too_is_kept_as_it_is(packed: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    mine = finished_with_logits(here, seconds=99.0)
    merged = unpack(packed, here)
    assert (merged.added, merged.known) == (1, 1)
    assert mine.final is not None and mine.final["seconds"] == 99.0


def test_a_run_with_other_numbers_is_a_contradiction(packed: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    mine = finished_with_logits(here, accuracy=0.25)
    before = contents(here)
    with pytest.raises(ArchiveError, match=f"nothing was written: .*{mine.path.name}.* has other epochs"):
        unpack(packed, here)
    assert contents(here) == before, "the other run, which is new here, is not written either"


def test_an_unfinished_run_is_not_overwritten(packed: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    mine = RunFolder.of(here, SPEC)
    mine.start(SPEC, {})
    mine.save_epochs([record(1, 0.25)])
    with pytest.raises(ArchiveError, match="it is interrupted in"):
        unpack(packed, here)
    mine.clear()
    with mine.claim(), pytest.raises(ArchiveError, match="it is running in"):
        unpack(packed, here)
    assert unpack(packed, here).added == 2, "a run that never began is in nobody's way"


def test_a_run_that_is_trained_meanwhile_is_not_overwritten(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is there and the merging, which may be minutes for many runs."""
    here, look = tmp_path / "here", archive._other_sweep
    mine = RunFolder.of(here, SPEC)
    mine.path.mkdir(parents=True)

    def somebody_trains(*given: Any) -> list[str]:
        finished_with_logits(here, accuracy=0.25)
        return look(*given)

    with monkeypatch.context() as patch, pytest.raises(ArchiveError, match="was started at this moment"):
        patch.setattr(archive, "_other_sweep", somebody_trains)
        unpack(packed, here)
    assert mine.final is not None and len(load_runs(here)) == 1


def test_a_run_of_a_machine_whose_clock_is_wrong_is_not_overwritten(packed: Path, tmp_path: Path) -> None:
    """It reads as one that never began, but its owner may be alive."""
    mine = RunFolder.of(tmp_path / "here", SPEC)
    owner = pretend(mine.path)
    os.utime(owner, (1e9, 1e9))
    assert mine.state == "new"
    with pytest.raises(ArchiveError, match=r"is being trained by far pid 1; if that has ended, .* `fer-bench clean`"):
        unpack(packed, tmp_path / "here")
    assert owner.exists()


def test_another_sweep_of_the_name_is_not_replaced(packed: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    other = sweep_of(here, [finished_with_logits(here, seed=9)])
    with pytest.raises(ArchiveError, match="the sweep mine has other runs in"):
        unpack(packed, here)
    assert unpack(packed, here, name="theirs").sweep == "theirs"
    assert find_sweep(here, "mine").content == other.content and len(find_sweep(here, "theirs").runs) == 3
    (here / "sweeps" / "theirs" / "sweep.json").write_text("{half")
    with pytest.raises(StoreError, match=r"theirs/sweep.json is damaged: .* run the sweep's command again"):
        unpack(packed, here, name="theirs")
    with pytest.raises(SpecError, match="a name is needed, not a path"):
        unpack(packed, here, name="../../elsewhere")


def higher(values: Any) -> None:
    """An accuracy that is better than it was, wherever it stands."""
    (values[-1] if isinstance(values, list) else values)["test"]["overall"] = 1.0


def both(files: dict[str, bytes]) -> None:
    edited("final.json", higher)(files), edited("epochs.jsonl", higher, lines=True)(files)


def moved(to: Callable[[str], str]) -> Change:
    def change(files: dict[str, bytes]) -> None:
        name = min(name for name in files if name.endswith("log.txt"))
        files[to(name)] = files.pop(name)

    return change


def sweep_edit(**changes: Any) -> Change:
    return edited("sweep.json", lambda values: values.update(changes))


def summed(change: Change) -> Change:
    """The change by somebody who knows of the sums."""

    def both(files: dict[str, bytes]) -> None:
        change(files)
        for name in [name for name in files if name.endswith("sums.json")]:
            folder = name.removesuffix("sums.json")
            known = json.loads(files[name])
            sums = {file: hashlib.sha256(files[folder + file]).hexdigest() for file in known if folder + file in files}
            files[name] = json.dumps(sums).encode()

    return both


TAMPERED: dict[str, tuple[Change, str]] = {
    "an edited setting": (edited("spec.json", lambda s: s.update(seed=7)), "spec.json is damaged .it is the spec"),
    "an edited result": (edited("final.json", higher), "final.json is damaged"),
    "an edited result, with its sum": (summed(edited("final.json", higher)), "not those of its last epoch"),
    "edited results and epochs, with their sums": (summed(both), "its stored logits give an accuracy of 0.[57]"),
    "no results": (
        lambda files: [files.pop(n) for n in list(files) if n.endswith("final.json")], "it has no results"
    ),
    "a pickle in place of arrays": (
        summed(lambda files: files.update({n: b"cos\nsystem\n" for n in files if n.endswith("scores.npz")})),
        "cannot be read",
    ),
    "a sweep whose runs are a number": (sweep_edit(runs=3), "not one of a sweep"),
    "a name that leads out": (moved(lambda name: "../escaped.txt"), "'../escaped.txt' is no file of a run"),
    "an absolute name": (moved(lambda name: "/tmp/escaped.txt"), "is no file of a run"),
    "a name that leads out of a run": (moved(lambda name: "runs/../log.txt"), "is no file of a run"),
    "dots for a data set": (moved(lambda name: re.sub("runs/[^/]+", "runs/..", name)), "is no file of a run"),
    "another file": (moved(lambda name: name.replace("log.txt", "checkpoint.pt")), "is no file of a run"),
    "a sweep that names other folders": (sweep_edit(runs=["../../elsewhere"]), "not one of a sweep"),
    "a sweep with a name that leads out": (sweep_edit(name="../x"), "not one of a sweep"),
    "a remark for the terminal": (
        summed(edited("final.json", lambda values: values.update(remarks=["\x1b]0;owned\x07"]))),
        "final.json holds '.x1b",
    ),
    "a processor for the terminal": (
        edited("env.json", lambda values: values.update(device="\x1b[2J")), "env.json holds '.x1b"
    ),
    "a command for the terminal": (sweep_edit(command="\x1b]0;owned\x07"), "not one of a sweep"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAMPERED)
def test_a_tampered_archive_is_refused_with_a_manifest_that_fits(case: str, packed: Path, tmp_path: Path) -> None:
    change, message = TAMPERED[case]
    with pytest.raises(ArchiveError, match=message):
        unpack(rewritten(packed, change), tmp_path / "here")
    assert contents(tmp_path / "here") == {} and not list(tmp_path.rglob("escaped*")) + list(
        Path("/tmp").glob("escaped*")
    )


def test_a_member_that_is_not_what_was_packed_is_refused(packed: Path, tmp_path: Path) -> None:
    def other(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.endswith("log.txt"))
        files[name] = b"a_warning\n"

    for change, message in (
        (other, "log.txt is not what was packed"),
        (lambda files: files.update(extra=b""), "'extra' is not in its manifest"),
        (lambda files: files.update({min(files): b"longer than it was" * 99}), "bytes, not"),
        (lambda files: files.pop(max(files)), "is missing"),
    ):
        with pytest.raises(ArchiveError, match=message):
            unpack(rewritten(packed, change, honest=False), tmp_path / "here")
    assert contents(tmp_path / "here") == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_refused(kind: bytes, packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as old:
        manifest = old.extractfile("manifest.json").read()  # type: ignore[union-attr]
    name = next(iter(json.loads(manifest)["files"]))
    with tarfile.open(tmp_path / "odd.tar.gz", "w:gz") as new:
        first = tarfile.TarInfo("manifest.json")
        first.size = len(manifest)
        new.addfile(first, io.BytesIO(manifest))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        new.addfile(info)
    with pytest.raises(ArchiveError, match="or is no file"):
        unpack(tmp_path / "odd.tar.gz", tmp_path / "here")
    assert contents(tmp_path / "here") == {}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "manifest is damaged"),
        ("[]", "manifest is damaged"),
        ('{"format": 2, "files": {}}', "of format 2"),
        ('{"format": 1, "files": {"sweep/sweep.json": {"sha256": "", "bytes": 99999999999999}}}', "impossible size"),
        ('{"format": 1, "files": {"sweep/sweep.json": {"sha256": "", "bytes": -1}}}', "impossible size"),
        ('{"format": 1, "files": {}}', "not one of a sweep"),
        ('{"format": 1, "files": {"sweep/sweep.json": {"sha256": "", "bytes": "9"}}}', "manifest is damaged"),
        ('{"format": 1, "files": {"sweep/sweep.json": {"sha256": "", "bytes": Infinity}}}', "manifest is damaged"),
        pytest.param("[" * 99_999, "manifest is damaged", id="deep"),
    ],
)
def test_a_wrong_manifest_is_refused(manifest: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=message):
        unpack(written(tmp_path / "x.tar.gz", {"manifest.json": manifest.encode()}), tmp_path / "here")


def test_other_and_damaged_files_are_refused(packed: Path, tmp_path: Path) -> None:
    here, half = tmp_path / "here", tmp_path / "half.tar.gz"
    half.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(half, here)
    half.write_bytes(b"no archive")
    with pytest.raises(ArchiveError, match="damaged or no archive"):
        unpack(half, here)
    with pytest.raises(ArchiveError, match="does not begin with manifest"):
        unpack(written(half, {"x": b""}), here)
    with pytest.raises(SpecError, match="no such file"):
        unpack(tmp_path / "absent.tar.gz", here)
    with pytest.raises(ArchiveError, match="is another file"):
        unpack(packed, here, sha256="0" * 64)
    assert contents(here) == {} if here.exists() else True
    assert unpack(packed, here, sha256=file_checksum(packed)).added == 2


def test_sums_of_files_elsewhere_are_not_looked_at(packed: Path, tmp_path: Path) -> None:
    """They could lead to a device that never ends."""
    stray = edited("sums.json", lambda sums: sums.update({"/dev/absent": "", "../../absent": ""}))
    assert unpack(rewritten(packed, stray), tmp_path / "here").added == 2


def test_no_changed_byte_ends_with_a_traceback(packed: Path, tmp_path: Path) -> None:
    whole, chance = packed.read_bytes(), random.Random(0)
    for number in range(60):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        packed.write_bytes(content)
        with suppress(ArchiveError):  # a byte of the file's date says nothing
            assert unpack(packed, tmp_path / str(number)).added == 2


def test_a_header_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, archive_format.LARGEST_READ + 1
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT)))
    with pytest.raises(ArchiveError, match="a header of impossible size"):
        unpack(bomb, tmp_path / "here")


def test_arrays_that_would_fill_all_memory_are_refused(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes of a compressed array may be a thousand times as many."""

    def fill(files: dict[str, bytes]) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, rows=np.zeros(500_000), logits=np.zeros(1))
        name = min(name for name in files if name.endswith("probe.npz"))
        files[name] = buffer.getvalue()

    monkeypatch.setattr("fer_bench.sweep.examine.LARGEST_ARRAYS", 1_000_000)
    with pytest.raises(ArchiveError, match=r"the arrays of probe.npz are of impossible size"):
        unpack(rewritten(packed, summed(fill)), tmp_path / "here")
    assert contents(tmp_path / "here") == {}


def test_a_full_disk_is_said_and_not_taken_for_a_damaged_archive(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tarfile.copyfileobj", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*sweep.json'"):
        unpack(packed, tmp_path / "here")
    monkeypatch.setattr(archive_format, "_add", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*again.tar.gz'"):
        pack(find_sweep(tmp_path / "there", "mine"), tmp_path / "again.tar.gz")
    assert contents(tmp_path / "here") == {} and not (tmp_path / "again.tar.gz").exists()


def test_an_archive_that_does_not_fit_is_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ArchiveError, match="more than is free"):
        unpack(packed, tmp_path / "here")


def test_a_stop_in_the_middle_leaves_whole_runs(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, moves, rename = tmp_path / "here", [], Path.rename

    def stops(self: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", stops)
        unpack(packed, here)
    runs = [RunFolder(path.parent) for path in here.glob("runs/*/*/*/spec.json")]
    assert len(runs) == 1 and examine(runs[0]) == "" and not (here / "sweeps").exists()
    assert unpack(packed, here).known == 1 and len(load_runs(here)) == 2


@pytest.mark.usefixtures("packed")
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("fer_bench.report.outputs.write_outputs", lambda sweep, *_: drawn.append(sweep.name))
    target = tmp_path / "sent.tar.gz"
    result = CliRunner().invoke(main, ["pack", "mine", "--out", str(tmp_path / "there"), "--to", str(target)])
    assert result.exit_code == 0, result.output
    assert "2 runs" in result.output and "1 run not finished here and left out" in result.output
    digest = result.output.split("sha256 ")[1].strip()
    words = ["unpack", str(target), "--out", str(tmp_path / "here")]
    result = CliRunner().invoke(main, [*words, "--sha256", digest])
    assert result.exit_code == 0 and "sweep mine: 2 runs added" in result.output and drawn == ["mine"]
    wrong = CliRunner().invoke(main, [*words, "--sha256", "0" * 64])
    assert wrong.exit_code == 1 and "is another file" in wrong.output
