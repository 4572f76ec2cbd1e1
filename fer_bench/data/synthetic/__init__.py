"""Drawn faces, so that everything runs without a download."""
