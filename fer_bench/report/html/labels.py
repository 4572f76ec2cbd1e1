"""The labels that the methods were given: who was taken for whom, and how pure each class is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from fer_bench.report.html.rounding import percent, rounded
from fer_bench.store.folder import RunFolder


def describe(frame: pd.DataFrame, conditions: list[str]) -> list[dict[str, Any]]:
    """One entry for each condition and draw of the data: ``confusion`` [C][C] counts (rows true, columns given),
    ``purity`` [C] in per cent, and the realised rate."""
    found = []
    for run in frame.drop_duplicates(["condition", "data_seed"]).to_dict("records"):
        noise = (RunFolder(Path(run["path"])).final or {}).get("noise", {})
        found.append(
            {
                "condition": conditions.index(run["condition"]),
                "data_seed": int(run["data_seed"]),
                "confusion": noise.get("confusion"),
                "purity": [percent(share) for share in noise.get("purity", [])],
                "rate": percent(run["realised_rate"]),
                "imbalance": rounded(run["noisy_imbalance"], 2),
                "images": int(run["train_images"]),
            }
        )
    return found
