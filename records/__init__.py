"""The files of a run directory, written so that a crash tears none and a resume can cut them back; no Keras.

docs/run-directory.md describes them.
"""

from rankscope.records.columns import read_columns
from rankscope.records.evenly import evenly
from rankscope.records.files import replace_file, write_csv, write_json
from rankscope.records.grid_points import SHORT_NAMES, mean_and_half_width
from rankscope.records.run_records import DamagedRunError, RunRecords, read_mapping, read_run_records
from rankscope.records.spectra_file import SpectraFile
from rankscope.records.step_table import StepTable

__all__ = [
    "SHORT_NAMES",
    "DamagedRunError",
    "RunRecords",
    "SpectraFile",
    "StepTable",
    "evenly",
    "mean_and_half_width",
    "read_columns",
    "read_mapping",
    "read_run_records",
    "replace_file",
    "write_csv",
    "write_json",
]
