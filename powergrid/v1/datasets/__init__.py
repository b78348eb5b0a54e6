"""Hourly series for v1 environments: the v1 pickle, CAISO's CSV files, or the embedded data."""

from powergrid.v1.datasets.caiso import read_caiso, write_v1_layout
from powergrid.v1.datasets.pickle_file import read_pickle
from powergrid.v1.datasets.series import read_data

__all__ = ["read_caiso", "read_data", "read_pickle", "write_v1_layout"]
