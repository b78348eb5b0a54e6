"""The nose of a network by continuation, from the benchmark that prints it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("nose_bench", Path(__file__).resolve().parents[3] / "bench" / "nose.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
nose = _module.nose
