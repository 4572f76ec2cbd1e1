"""Every case, by section of docs/development/bad-input.md."""

from __future__ import annotations

from tests.bad_input import cases_command, cases_data, cases_results, cases_runs
from tests.bad_input.seen import Case

SECTIONS: dict[str, tuple[Case, ...]] = {
    "A folder of images": cases_data.FOLDERS,
    "Images": cases_data.IMAGES,
    "Tables (csv, Parquet)": cases_data.TABLES,
    "Known data sets": cases_data.KNOWN,
    "Landmarks": cases_data.LANDMARKS,
    "Unlabelled images": cases_data.UNLABELLED,
    "Options": cases_command.OPTIONS,
    "Files of label noise": cases_command.NOISE_FILES,
    "TOML files: recipes and tables of papers": cases_command.TOML,
    "Tuning, settings files and varied values": cases_command.TUNING,
    "Methods of your own": cases_command.METHODS,
    "Weights and checkpoints": cases_command.WEIGHTS,
    "Sweeps, tables, pages": cases_results.SWEEPS,
    "Run folders": cases_results.RUNS,
    "Suspected labels": cases_runs.SUSPECTS,
    "Trained models": cases_runs.MODELS,
}
