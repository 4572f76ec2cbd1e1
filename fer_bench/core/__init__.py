"""What every part of fer-bench stands on: specifications, presets, errors, randomness, files."""
