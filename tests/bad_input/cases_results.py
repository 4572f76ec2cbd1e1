"""Results: folders of runs and sweeps that are missing, damaged, foreign, or of another version."""

from __future__ import annotations

from bad_input.seen import Case
from bad_input.world import SCRIPT, both, changed, data, folder, in_run, in_run_again, linked, malicious, replaced, results, sweep, text

TABLE = "table mine"
SKIPPED = "unreadable: "

SWEEPS = (
    *(Case(f"no sweep yet: {command}", command, ("no sweep in results/sweeps", "fer-bench run")) for command in
      ("status", "watch --once", "table", "plot", "report")),
    Case("an unknown sweep", "status mien", ("no sweep 'mien'", "did you mean 'mine'"), make=results),
    Case("sweep.json is cut off", "table mine", ("sweep.json is damaged", "run the sweep's command again"),
         make=both(results, text("results/sweeps/mine/sweep.json", "{half")), foreign=r"damaged: .*?;"),
    Case("sweep.json is no object", "status mine", ("sweep.json is damaged", "run the sweep's command again"),
         make=both(results, text("results/sweeps/mine/sweep.json", "[1, 2]"))),
    Case("sweep.json is no text", "status mine", ("sweep.json is damaged",),
         make=both(results, data("results/sweeps/mine/sweep.json", b"\xff\xfe")), foreign=r"damaged: .*?;"),
    Case("sweep.json without its runs", "status mine", ("sweep.json is damaged", "'runs'"), make=sweep(runs=None)),
    Case("runs that are no list", "status mine", ("sweep.json is damaged", "'runs'"), make=sweep(runs=3)),
    Case("names of runs are missing (an older version)", "table mine", ("Overall accuracy",), 0, make=sweep(names=None)),
    Case("runs outside the folder", "status mine", ("sweep.json is damaged: '../../../etc' is no folder of a run",), make=sweep(runs=["../../../etc"])),
    Case("runs that were removed", "status mine", ("1 new, 1 done",), 0, make=in_run(lambda run: __import__("shutil").rmtree(run))),
    Case("fields of a newer version", "status mine", ("2 done",), 0, make=sweep(weather="fine")),
    Case("a class called like a script", "table named --format html", ("&lt;/script&gt;",), 0, make=results, absent=("<script>alert",)),
    Case("the same on the page", "report named", ("report.html",), 0, make=results, foreign=r"\(.*MB\)"),
    Case("an unknown measure", "table mine --metrics overal", ("overal", "did you mean 'overall'"), make=results),
    Case("an empty list of measures", "table mine --metrics ''", ("no metric is named", "there are: overall"), make=results),
    Case("an unknown protocol", "table mine --protocol lats", ("lats", "did you mean 'last'"), make=results),
    Case("an unknown baseline", "table mine --baseline cee", ("cee", "ce"), make=results),
    Case("an unknown test", "table mine --test t", ("'t'", "sign-flip"), make=results),
    Case("an unknown unit", "table mine --unit epoch", ("'epoch'", "seed"), make=results),
    Case("an unknown spread", "table mine --spread range", ("'range'", "interval"), make=results),
    Case("an unknown interval", "table mine --interval z", ("'z'", "bootstrap"), make=results),
    Case("an unknown format", "table mine --format pdf", ("'pdf'", "latex"), make=results),
    Case("a page into a folder that is a file", "report mine --to taken/x.html", ("taken",), 1, make=both(results, text("taken", "")), foreign=r"\[Errno \d+\]"),
    Case("plugins for a page that are not there", "report mine --plugins absent", ("--plugins absent: no such file or folder",), make=results),
)

RUNS = (
    Case("final.json is cut off", TABLE, (SKIPPED, "final.json is damaged"), 0, make=replaced("final.json", b'{"a": '), foreign=r"damaged: .*"),
    Case("the same: its state", "status mine", (SKIPPED, "final.json is damaged"), 0, make=replaced("final.json", b'{"a": '), foreign=r"damaged: .*"),
    Case("the same: followed", "watch mine --once", ("unreadable ", "final.json is damaged"), 0, make=replaced("final.json", b'{"a": '), foreign=r"damaged: .*"),
    Case("final.json is empty", "status mine", (SKIPPED, "final.json is damaged"), 0, make=replaced("final.json", b""), foreign=r"damaged: .*"),
    Case("final.json is no object", "status mine", (SKIPPED,), 0, make=replaced("final.json", b"[]")),
    Case("final.json without a field (an older version)", "status mine", (SKIPPED, "'detection'"), 0, make=changed("final.json", detection=None)),
    Case("final.json with a field more (a newer version)", "status mine", ("2 done",), 0, make=changed("final.json", weather="fine"), absent=(SKIPPED,)),
    Case("spec.json is missing", "status mine", (SKIPPED, "has no specification"), 0, make=replaced("spec.json", None)),
    Case("spec.json is no text", "status mine", (SKIPPED, "spec.json is damaged"), 0, make=replaced("spec.json", b"\xff\xfe\x00"), foreign=r"damaged: .*"),
    Case("a newer protocol", "status mine", (SKIPPED, "protocol 99"), 0, make=changed("spec.json", protocol=99)),
    Case("an older protocol", "status mine", (SKIPPED, "protocol 0"), 0, make=changed("spec.json", protocol=0)),
    Case("a setting that this version does not know", "status mine", (SKIPPED, "'weather'"), 0, make=changed("spec.json", weather="fine")),
    Case("a setting of the recipe that this version does not know", "status mine", (SKIPPED, "'weather'"), 0,
         make=changed("spec.json", recipe={"weather": "fine"})),
    Case("a setting is missing (an older version)", "status mine", (SKIPPED, "'fingerprint'"), 0, make=changed("spec.json", fingerprint=None)),
    Case("a setting of the wrong type", "status mine", (SKIPPED, "seed = 'x'"), 0, make=changed("spec.json", seed="x")),
    Case("epochs.jsonl is empty", "status mine", (SKIPPED, "has no epochs"), 0, make=replaced("epochs.jsonl", b"")),
    Case("epochs.jsonl is cut off", "status mine", (SKIPPED, "epochs.jsonl is damaged"), 0, make=replaced("epochs.jsonl", b'{"epoch": 1, '), foreign=r"damaged: .*"),
    Case("epochs.jsonl holds something else", "status mine", (SKIPPED, "epochs.jsonl"), 0, make=replaced("epochs.jsonl", b"3\n")),
    Case("env.json is cut off", "status mine", ("2 done",), 0, make=replaced("env.json", b"{"), absent=(SKIPPED,)),
    Case("status.json is cut off", "status mine", (SKIPPED, "status.json is damaged"), 0,
         make=both(replaced("final.json", None), in_run_again("status.json", b"{")), foreign=r"damaged: .*"),
    Case("status.json is no object", "watch mine --once", ("unreadable ",), 0,
         make=both(replaced("final.json", None), in_run_again("status.json", b"[1]"))),
    Case("scores.npz is damaged", "report mine", ("scores.npz",), 1, make=replaced("scores.npz", b"x"), foreign=r"\(.*\)"),
    Case("scores.npz would run code", "report mine", ("scores.npz",), 1, make=in_run(lambda run: malicious("scores.npz", "numpy")(run)), foreign=r"\(.*\)"),
    Case("a file that is not of fer-bench", "status mine", ("2 done",), 0, make=in_run(lambda run: (run / "notes.txt").write_text("x")), absent=(SKIPPED,)),
    Case("an empty folder among the runs", "status mine", ("2 done",), 0, make=both(results, folder("results/runs/faces/ce/0123456789abcdef")), absent=(SKIPPED,)),
    Case("a folder for spec.json", "status mine", (SKIPPED, "spec.json"), 0, make=both(replaced("spec.json", None), in_run_again("spec.json", None)), foreign=r"\[Errno \d+\] "),
    Case("a link to itself among the runs", "status mine", ("2 done",), 0, make=both(results, linked("results/runs/loop", "loop")), absent=(SKIPPED,)),
    Case("two runs to compare, one of them unknown", "diff 0123 4567", ("no run",), make=results),
    Case("a run to compare with a damaged file", "diff results/runs/x/ce/a results/runs/x/ce/b", ("damaged",), 1,
         make=both(text("results/runs/x/ce/a/spec.json", "{"), text("results/runs/x/ce/b/spec.json", "{}")), foreign=r"damaged: .*"),
)
