"""Files: whole or absent, and read many at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fer_bench.core import files
from fer_bench.core.files import write_atomically


def test_a_write_is_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, b"old")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            target = os if name == "fsync" else Path
            patch.setattr(
                target, name, lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
            )
            with pytest.raises(OSError, match="No space left"):
                write_atomically(path, b"new content")
        assert path.read_bytes() == b"old"
        assert [p.name for p in path.parent.iterdir()] == ["file.json"], "no part may stay behind"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


REWRITE = """
import sys
from pathlib import Path
from fer_bench.core.files import write_atomically
for i in range(40):
    write_atomically(Path(sys.argv[1]), bytes([66 - i % 2]) * 300_000)
"""


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path, contents = tmp_path / "x", {bytes([65 + i]) * 300_000 for i in range(2)}
    write_atomically(path, b"A" * 300_000)
    writer, seen = subprocess.Popen([sys.executable, "-c", REWRITE, str(path)]), set()
    while writer.poll() is None:
        content = path.read_bytes()
        assert content in contents
        seen.add(content[:1])
    assert writer.returncode == 0 and seen == {b"A", b"B"}


@pytest.mark.parametrize("waits", [True, False])
def test_runs_are_read_by_threads_where_that_means_waiting(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.time, "thread_time", (lambda: 0.0) if waits else time.perf_counter)
    seen: list[str] = []

    def work(number: int) -> int:
        seen.append(threading.current_thread().name)
        time.sleep(0.001)
        return number

    assert files.read_each(work, iter(range(100))) == list(range(100))
    main = threading.current_thread().name
    assert set(seen[: files.FIRST]) == {main} and (main in seen[files.FIRST :]) != waits
    assert files.read_each(work, []) == []
