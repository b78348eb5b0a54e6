"""Sections of a grid file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from powergrid.config.schema_types import Place, Section, defaults, list_of_one

MOST_JOBS = 10_000


def _counted(value: Any) -> Any:
    """Accept a number of seeds in place of their list."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if not 1 <= value <= MOST_JOBS:
        raise ValueError(f"{value:,} seeds are not 1 to {MOST_JOBS:,}; one of them is named in a list: [{value}]")
    return list(range(value))


Values = Annotated[list[Any], BeforeValidator(list_of_one), Field(min_length=1)]


class Evaluated(Section):
    """How trained policies are evaluated."""

    days: Literal["train", "validation", "test", "stress"] | Annotated[list[int], Field(min_length=1)] = Field(
        "test", description="split of the data, or day indices"
    )


class Range(Section):
    """Numbers that a search samples; whole ones where both ends are."""

    low: int | float = Field(description="least value")
    high: int | float = Field(description="greatest value")
    log: bool = Field(False, description="sample the logarithm uniformly")

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range begins above 0, not at {self.low}")
        return self


class Searched(Section):
    """How values are searched."""

    trials: int = Field(20, ge=1, le=MOST_JOBS, description="combinations that are tried")
    prune: bool = Field(False, description="stop a trial after a seed whose mean J is above the median of the others")
    seed: int = Field(0, ge=0, description="seed of the sampler")


class Grid(Section):
    """A grid file."""

    base: Annotated[list[Place], BeforeValidator(list_of_one), Field(min_length=1)] = Field(
        description="presets, or configuration files relative to this file"
    )
    steps: int | None = Field(None, ge=1, description="environment steps of each run; omitted: the configuration's own")
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_counted), Field(min_length=1)] = Field(
        default_factory=lambda: [0], description="seeds, or their number; omitted: 0"
    )
    algorithms: Annotated[list[str], BeforeValidator(list_of_one)] = Field(
        default_factory=list, description="registered algorithms; omitted: the configuration's own"
    )
    over: dict[str, Values] = Field(
        default_factory=dict, description="values by dotted path of the configuration, in all combinations"
    )
    settings: dict[str, Values] = Field(
        default_factory=dict, description="values by hyperparameter of the algorithms, in all combinations"
    )
    evaluate: Evaluated = defaults(Evaluated, "how trained policies are evaluated")
    search: Searched = defaults(Searched, "how values are searched, with --search")
