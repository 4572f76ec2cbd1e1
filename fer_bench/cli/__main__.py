"""``python -m fer_bench.cli`` is the command ``fer-bench``."""

from fer_bench.cli.main import main

main()
