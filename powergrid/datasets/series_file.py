"""Format of a file with a series, as stated in YAML or Python."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from powergrid.core.errors import DataError
from powergrid.core.settings import NumberSettings


class SeriesFile(NumberSettings):
    """A file with a series, and the parts of its format that cannot be detected."""

    path: str = Field(
        min_length=1,
        description='CSV or Excel file, relative to this YAML, or "file:column", or "dataset:column"',
    )
    column: str | None = Field(None, description="value column; omitted: the only one besides the time")
    sep: str | None = Field(
        None, min_length=1, max_length=1, description="separator of cells in CSV; omitted: detected from the lines"
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="decimal mark of numbers in CSV; omitted: detected from the numbers"
    )
    date_format: str | None = Field(
        None,
        min_length=2,
        description='form of the stamps, such as "%d/%m/%Y %H:%M"; omitted: detected from the stamps',
    )
    sheet: str | int | None = Field(
        None, description="sheet of an Excel file, by name or number from 0; omitted: the only one"
    )
    unit: str | None = Field(
        None,
        min_length=1,
        description="unit of the values, such as kW, kWh (per interval), percent, EUR/MWh, ct/kWh, K, km/h; omitted: "
        "the unit of the quantity, which must fit the size of the values",
    )
    rating: float | None = Field(
        None,
        gt=0,
        description="power that is 1 per unit, in `unit` (in kW where that is kWh); omitted: the largest of the year",
    )
    time: Literal["start", "end"] = Field("start", description="whether a stamp is the start or end of its interval")
    utc_offset_h: float | None = Field(
        None,
        ge=-12,
        le=14,
        description="local standard time minus UTC [h]; stamps without an offset then are UTC; omitted: stamps are in "
        "local standard time",
    )
    check: bool = Field(True, description="whether unusual values are refused")
    cleaning: tuple[str | dict[str, Any], ...] = Field(
        (),
        description="steps of cleaning, in order: order, hour_ending, clock_changes, duplicates, year, unit, outliers, "
        "gaps; omitted: gaps and repeated stamps are refused",
    )
    max_mb: float = Field(200.0, gt=0, le=10_000, description="size of the largest file that is read [MB]")

    @model_validator(mode="after")
    def _rating_of_a_unit(self) -> Self:
        if self.rating is not None and self.unit is None:
            raise ValueError("rating is given in `unit`, which is missing; write for example unit: kW")
        return self

    @model_validator(mode="after")
    def _steps(self) -> Self:
        from powergrid.datasets.cleaning import steps_of

        if not self.cleaning:
            return self
        try:
            names = [step.name for step in steps_of(self.cleaning)]
        except DataError as error:
            raise ValueError(str(error)) from error
        if self.time == "end":
            raise ValueError("time: end stands beside cleaning; leave it out, and write the step hour_ending")
        if self.unit is not None and "unit" in names:
            raise ValueError("unit stands beside cleaning and in it; leave one of them out")
        return self

    def changed_fields(self) -> dict[str, object]:
        """Fields that differ from the defaults, the path first."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def line(self, key: str, **changes: object) -> str:
        """The line for the YAML file: this format with some keys changed."""
        fields = {**self.changed_fields(), **changes}
        inside = ", ".join(f"{name}: {_flow(name, value)}" for name, value in fields.items())
        return f"`{key}: {{{inside}}}`"


def _flow(name: str, value: object) -> str:
    """A value in YAML notation."""
    if (
        isinstance(value, str)
        and name not in ("sep", "decimal", "date_format")
        and not set(value) & set(",:{}[]#&*%'\"` ")
    ):
        return value
    return json.dumps(value, ensure_ascii=False)
