"""The files of a run directory, written so that a crash tears none and a resume can cut them back; no Keras.

docs/run-directory.md describes them.
"""

from records.columns import read_columns
from records.files import replace_file, write_csv, write_json
from records.spectra_file import SpectraFile
from records.step_table import StepTable

__all__ = ["SpectraFile", "StepTable", "read_columns", "replace_file", "write_csv", "write_json"]
