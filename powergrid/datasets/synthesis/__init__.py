"""Made years: more training days than a dataset has, from its training days only.

`synthesise` appends made years to a dataset. Their days belong to the split ``train``; the days of the dataset itself
keep their indices and splits, so that validation and test are on real days.
"""

from powergrid.datasets.synthesis.compare import Comparison, compare
from powergrid.datasets.synthesis.make import METHODS, synthesise

__all__ = ["synthesise", "METHODS", "compare", "Comparison"]
