"""Checks and measures a run on a GPU, in parts that leave their findings as they go; see docs/development/gpu.md."""
