"""The families that the list of methods, plots and pages are grouped by. Reading them needs no PyTorch."""

from __future__ import annotations

FAMILIES = {
    "baseline": "Baseline",
    "losses": "Robust losses",
    "early-learning": "Early learning, sparse noise, self-adaptive training",
    "selection": "Sample selection",
    "semi-supervised": "Semi-supervised",
    "regularisation": "Regularisation",
    "faces": "Made for facial expressions",
    "imbalance": "Imbalance",
    "noise-and-imbalance": "Noise and imbalance",
}
"""Families of methods, in the order of the list that ``fer-bench methods`` prints, with their headings."""
