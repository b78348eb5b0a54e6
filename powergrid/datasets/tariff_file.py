"""Tariffs as data: time-of-use rates and a demand charge from a YAML file."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from powergrid.core.errors import ConfigError, DataError, Issue
from powergrid.core.settings import NumberSettings
from powergrid.datasets.resample import DAY_S, Series

if TYPE_CHECKING:
    from powergrid.datasets.dataset import Dataset

RETAIL, FEED_IN = "retail_per_mwh", "feed_in_per_mwh"
"""Quantities of the two price series."""

STEP_S = 900
"""Rates change at quarter hours."""

Hours = Annotated[tuple[float, float], Field(description="from and to, by the clock; 22 to 6 goes over midnight [h]")]


def _checked_hours(hours: tuple[float, float]) -> tuple[float, float]:
    for hour in hours:
        if not 0.0 <= hour <= 24.0 or (hour * 4.0) % 1.0:
            raise ValueError(f"{hour:g} is no quarter hour from 0 to 24")
    if hours[0] == hours[1]:
        raise ValueError("a period from an hour to itself is empty; write [0, 24] for the whole day")
    return hours


class Period(NumberSettings):
    """When an energy rate holds. The first period of the list that fits an hour counts."""

    name: str = Field("", description="name, such as on_peak")
    months: tuple[int, ...] = Field(tuple(range(1, 13)), min_length=1, description="months, from 1 to 12")
    days: Literal["all", "workdays", "weekends"] = Field("all", description="days of the week; holidays are weekends")
    hours: Hours = (0.0, 24.0)
    per_mwh: float | None = Field(None, description="rate [$/MWh]")
    per_kwh: float | None = Field(None, description="rate [$/kWh], in place of per_mwh")

    _hours = field_validator("hours")(_checked_hours)

    @field_validator("months")
    @classmethod
    def _in_a_year(cls, months: tuple[int, ...]) -> tuple[int, ...]:
        if wrong := [month for month in months if not 1 <= month <= 12]:
            raise ValueError(f"{wrong[0]} is no month; write 1 to 12")
        return months

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if (self.per_mwh is None) == (self.per_kwh is None):
            raise ValueError("a period has one rate, per_mwh or per_kwh")
        return self

    @property
    def rate(self) -> float:
        """Rate [$/MWh]."""
        return 1000.0 * self.per_kwh if self.per_kwh is not None else float(self.per_mwh or 0.0)


class Demand(NumberSettings):
    """Charge for the highest import of a billing period; see the protocol ``demand_charge``."""

    per_mw: float | None = Field(None, ge=0, description="for the highest import of a billing period [$/MW]")
    per_kw: float | None = Field(None, ge=0, description="the same [$/kW], in place of per_mw")
    hours: Hours = Field((0.0, 24.0), description="hours of standard time in which import counts [h]")
    peak_init_mw: float = Field(0.0, ge=0, description="highest import that is billed already at reset [MW]")

    _hours = field_validator("hours")(_checked_hours)

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if (self.per_mw is None) == (self.per_kw is None):
            raise ValueError("a demand charge has one rate, per_mw or per_kw")
        return self

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the protocol."""
        rate = 1000.0 * self.per_kw if self.per_kw is not None else self.per_mw
        return {"price_per_mw": rate, "hours": list(self.hours), "peak_init_mw": self.peak_init_mw}


class TariffFile(NumberSettings):
    """Keys of the file."""

    name: str = Field(description="name, of letters, digits and underscores")
    source: str = Field("", description="who published the tariff")
    zone: str | None = Field(
        None, description="time zone by whose clock periods begin, such as America/Los_Angeles; omitted: standard time"
    )
    holidays: tuple[str, ...] = Field((), description='days that count as weekends, as month-day: "07-04"')
    energy: tuple[Period, ...] = Field(
        min_length=1, description="rates of imported energy, of which the first that fits counts"
    )
    feed_in_per_mwh: float | None = Field(None, description="price of exported energy [$/MWh]")
    feed_in_per_kwh: float | None = Field(None, description="the same [$/kWh], in place of feed_in_per_mwh")
    feed_in_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="price of exported energy as a share of the rate of the hour [1]; 1 is net metering",
    )
    demand: Demand | None = Field(None, description="demand charge; omitted: none")

    @field_validator("name")
    @classmethod
    def _a_word(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ValueError(f'"{name}" is not made of letters, digits and underscores, with a letter first')
        return name

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f'unknown time zone "{zone}"; write one such as America/Los_Angeles') from error
        return zone

    @field_validator("holidays")
    @classmethod
    def _month_day(cls, days: tuple[str, ...]) -> tuple[str, ...]:
        for day in days:
            if not re.fullmatch(r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", day):
                raise ValueError(f'"{day}" is no month-day; write it as "07-04"')
        return days

    @model_validator(mode="after")
    def _one_feed_in(self) -> Self:
        given = [self.feed_in_per_mwh, self.feed_in_per_kwh, self.feed_in_share]
        if sum(one is not None for one in given) != 1:
            raise ValueError("give one of feed_in_per_mwh, feed_in_per_kwh and feed_in_share")
        return self

    @model_validator(mode="after")
    def _one_clock(self) -> Self:
        if self.zone is not None and self.demand is not None and self.demand.hours != (0.0, 24.0):
            raise ValueError(
                "demand.hours are hours of standard time, which follow no zone with daylight saving time; leave zone "
                "out, or demand.hours"
            )
        return self

    @property
    def names(self) -> tuple[str, str]:
        """Columns of the retail and the feed-in price."""
        return f"{RETAIL}:{self.name}", f"{FEED_IN}:{self.name}"

    def added_to(self, dataset: Dataset) -> Dataset:
        """The dataset with the two price series of this tariff, on its own calendar.

        Raises
        ------
        DataError
            If no period fits an hour, or exported energy brings more than imported energy costs in some hour.
        """
        rates = self._rates(dataset)
        if self.feed_in_share is not None:
            feed_in = self.feed_in_share * rates
        else:
            given = self.feed_in_per_mwh if self.feed_in_per_kwh is None else 1000.0 * self.feed_in_per_kwh
            feed_in = np.full(len(rates), given)
        wrong = feed_in > rates
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"tariff {self.name}: feed-in {feed_in[row]:g} $/MWh exceeds the rate {rates[row]:g} $/MWh at "
                f"{int(wrong.sum())} quarter hours, so that energy could be sold at a profit; lower the feed-in"
            )
        return dataset.with_series(
            {name: Series(values, STEP_S) for name, values in zip(self.names, (rates, feed_in), strict=True)}
        )

    def _rates(self, dataset: Dataset) -> np.ndarray:
        """Rate of each quarter hour [$/MWh]."""
        import pandas as pd

        count = dataset.days * DAY_S // STEP_S
        if self.zone is None:
            first = dataset.start.replace(tzinfo=None) + timedelta(hours=dataset.utc_offset_h)
            stamps = pd.date_range(first, periods=count, freq=f"{STEP_S}s")
        else:
            stamps = pd.date_range(dataset.start, periods=count, freq=f"{STEP_S}s").tz_convert(self.zone)
        hour = np.asarray(stamps.hour + stamps.minute / 60.0)
        month, day = np.asarray(stamps.month), np.asarray(stamps.day)
        off = np.asarray(stamps.dayofweek >= 5)
        for text in self.holidays:
            off = off | ((month == int(text[:2])) & (day == int(text[3:])))
        rates = np.full(count, np.nan)
        for period in reversed(self.energy):
            fits = np.isin(month, period.months) & within(hour, period.hours)
            if period.days != "all":
                fits &= off if period.days == "weekends" else ~off
            rates[fits] = period.rate
        if np.isnan(rates).any():
            missing = stamps[int(np.isnan(rates).argmax())]
            raise DataError(
                f"tariff {self.name}: no period fits {missing:%A %d %B, %H:%M}; end with a period for all times"
            )
        return rates


def within(hour: np.ndarray, hours: tuple[float, float]) -> np.ndarray:
    """Whether hours of the day, ``(n,)``, lie in a period, which may go over midnight."""
    first, end = hours
    found: np.ndarray = (hour >= first) & (hour < end) if first < end else (hour >= first) | (hour < end)
    return found


def read(path: str | os.PathLike[str]) -> TariffFile:
    """Read a tariff.

    Parameters
    ----------
    path
        YAML file with the keys of `TariffFile`.

    Raises
    ------
    ConfigError
        If it cannot be read or has faults; lists all of them.
    """
    from powergrid.datasets.described import plain_yaml

    file = Path(path)
    try:
        return TariffFile.model_validate(plain_yaml(file))
    except ValidationError as error:
        keys = ", ".join(TariffFile.model_fields)
        raise ConfigError(
            [
                Issue(".".join(map(str, fault["loc"])), fault["msg"], f"keys: {keys}", str(file))
                for fault in error.errors()
            ]
        ) from error
