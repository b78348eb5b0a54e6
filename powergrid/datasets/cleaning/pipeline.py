"""A pipeline: reads its steps, applies them in order, and collects what they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from powergrid.core.errors import DataError, unknown_name
from powergrid.datasets.cleaning.steps import STEPS
from powergrid.datasets.cleaning.table import Report, Step, Table

if TYPE_CHECKING:
    import pandas as pd

    Steps = Sequence[Step | str | Mapping[str, object]]


class Cleaned(NamedTuple):
    """What a pipeline made.

    Attributes
    ----------
    frame
        The values; NaN where one is missing.
    filled, outlier
        Masks shaped like `frame`: values that were filled in, and values that were flagged.
    report
        What each step did.
    table
        All of it, as another pipeline takes it.
    """

    frame: pd.DataFrame
    filled: pd.DataFrame
    outlier: pd.DataFrame
    report: Report
    table: Table


def clean(frame: pd.DataFrame | Table, steps: Steps) -> Cleaned:
    """Apply steps in order.

    Parameters
    ----------
    frame
        Columns of numbers with an index of stamps: a wall clock without a zone, or any zone. Columns whose unit or kind
        matters are named as those of a dataset, ``<quantity>_<unit>:<site>``.
    steps
        Steps, or their names and settings as in YAML; see `powergrid.datasets.cleaning.steps`.

    Raises
    ------
    DataError
        If a step is unknown or refuses the table; names the step.
    """
    table = frame if isinstance(frame, Table) else Table.of(_checked(frame))
    found = []
    for step in steps_of(steps):
        try:
            table, done = step.apply(table)
        except DataError as error:
            raise DataError(f"cleaning step {step.name}: {error}") from error
        found.append(done)
    return Cleaned(table.frame, table.filled, table.outlier, Report(found), table)


def steps_of(written: Steps) -> list[Step]:
    """Steps as they are written: a name, ``{name: value}`` or ``{name: {setting: value}}``.

    Raises
    ------
    DataError
        If a step is unknown, or its settings have faults; names all faults.
    """
    faults, steps = [], []
    for number, one in enumerate(written, 1):
        try:
            steps.append(one if isinstance(one, Step) else _step(one))
        except (DataError, KeyError) as error:
            faults.append(f"step {number}: {error}")
    if faults:
        raise DataError("; ".join(faults))
    return steps


def _step(one: str | Mapping[str, object]) -> Step:
    pair = {one: {}} if isinstance(one, str) else one
    if not isinstance(pair, Mapping) or len(pair) != 1:
        raise DataError(f"{one!r} is no step; write a name, or one name with its settings, as in `duplicates: first`")
    name, given = next(iter(pair.items()))
    if name not in STEPS:
        raise unknown_name("cleaning step", str(name), STEPS)
    kind = STEPS[name]
    if not isinstance(given, Mapping):
        if not kind.short:
            raise DataError(f"{name}: takes no value, but settings ({_settings(kind)})")
        given = {kind.short: given}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise DataError(f"{name}: {told}; settings: {_settings(kind)}") from error


def _settings(kind: type[Step]) -> str:
    return ", ".join(kind.model_fields) or "none"


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of numbers with stamps in UTC, if they have a zone."""
    import pandas as pd

    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        raise DataError("the frame needs an index of stamps (pandas.DatetimeIndex)")
    if index.hasnans:
        raise DataError("a stamp is missing (NaT); drop its row")
    try:
        numbers = frame.astype(float)
    except (TypeError, ValueError) as error:
        raise DataError(f"the frame has values that are no numbers ({error})") from error
    return numbers if index.tz is None else numbers.set_axis(index.tz_convert("UTC"))
