"""Time series for environments: the embedded year, its stress set, users' files, and the two prices at a meter.

Files of this folder register themselves under their own name, see `powergrid.plugins.register_dataset`. A registered
dataset is a function ``(start=None, end=None, cache_dir=None, download=False) -> Dataset``.
"""

from powergrid.datasets.cleaning import clean
from powergrid.datasets.combine import from_csv, from_series
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.gridstatus import from_gridstatus
from powergrid.datasets.loaders import load, names
from powergrid.datasets.resample import Series
from powergrid.datasets.series_file import SeriesFile
from powergrid.datasets.stored import save
from powergrid.datasets.synthesis import synthesise
from powergrid.datasets.user_file import read_series

__all__ = [
    "load",
    "save",
    "names",
    "from_series",
    "from_csv",
    "from_gridstatus",
    "read_series",
    "clean",
    "synthesise",
    "Dataset",
    "Series",
    "SeriesFile",
]
