"""How much time a run takes above the floor of its backbone: ``python -m benchmarks.speed``.

See docs/development/speed.md.
"""
