"""Cleaning of tables with time stamps: steps in an order that a person chooses, and a report of what each did.

A pipeline is a list, in YAML or Python alike::

    cleaning:
      - hour_ending
      - clock_changes: America/New_York
      - duplicates: first
      - year: 2024
      - outliers: {factor: 10}
      - gaps: {fill: interpolate, longest_h: 3}

Nothing is filled, dropped or converted unless a step says so; `gaps` alone puts rows on a regular grid and keeps what
is missing as NaN.
"""

from powergrid.datasets.cleaning.pipeline import Cleaned, clean, steps_of
from powergrid.datasets.cleaning.steps import STEPS
from powergrid.datasets.cleaning.table import Done, Report, Step, Table

__all__ = ["clean", "steps_of", "Cleaned", "Report", "Done", "Step", "Table", "STEPS"]
