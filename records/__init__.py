"""The directories of runs, sweeps and studies: made, found, and their files written and read back; no Keras.

Files grow by steps, stay whole in a crash, and are cut back by a resume. docs/run-directory.md describes them.
"""

from rankscope.records.columns import read_columns
from rankscope.records.evenly import evenly
from rankscope.records.grid_points import SHORT_NAMES, mean_and_half_width
from rankscope.records.mapping import read_mapping
from rankscope.records.run_directory import (
    SAVED_MODELS,
    VERSION,
    backend_of,
    check_backend,
    create_run_directory,
    create_study_directory,
    create_sweep_directory,
    find_runs,
    read_summary,
)
from rankscope.records.run_records import DamagedRunError, RunRecords, read_run_records
from rankscope.records.spectra_file import SpectraFile
from rankscope.records.step_table import StepTable

__all__ = [
    "SAVED_MODELS",
    "SHORT_NAMES",
    "VERSION",
    "DamagedRunError",
    "RunRecords",
    "SpectraFile",
    "StepTable",
    "backend_of",
    "check_backend",
    "create_run_directory",
    "create_study_directory",
    "create_sweep_directory",
    "evenly",
    "find_runs",
    "mean_and_half_width",
    "read_columns",
    "read_mapping",
    "read_run_records",
    "read_summary",
]
