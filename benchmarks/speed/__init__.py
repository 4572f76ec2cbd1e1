"""How much time a run takes above the floor of its backbone: ``python -m benchmarks.speed``, explained in docs/speed.md."""
