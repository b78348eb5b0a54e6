"""A configuration as a whole, and its data, prices and time: every key with its unit, its default and its meaning.

All times are in seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from powergrid.config.schema_agents import AgentConfig, Coordination, HorizontalConfig, Messages
from powergrid.config.schema_network import NetworkConfig
from powergrid.config.schema_types import Place, Section, defaults, from_text
from powergrid.datasets.series_file import SeriesFile

SCHEMA_VERSION: Literal[1] = 1
"""Version of the keys below; written into every exported configuration."""

DEFAULT_DATASET = "embedded_2022"
"""The data that ship with the package."""

Datasets = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[dict[str, Annotated[SeriesFile, from_text(SeriesFile, "path")]], Tag("series")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "series"),
]
"""The name of a dataset or the path of one, or the file of each series."""


class TariffConfig(Section):
    """Prices: ``feed_in = feed_in_share max(price, 0)``, ``retail = max(price, 0) + retail_adder``, or a file."""

    file: Place | None = Field(
        None, description="YAML file with time-of-use rates and a demand charge; omitted: the two keys below"
    )
    feed_in_share: float = Field(0.9, ge=0, description="share of the market price paid for fed-in energy [1]")
    retail_adder: float = Field(45.0, description="charges on drawn energy above the market price [$/MWh]")

    @model_validator(mode="after")
    def _file_alone(self) -> TariffConfig:
        fields = type(self).model_fields
        beside = [name for name in ("feed_in_share", "retail_adder") if getattr(self, name) != fields[name].default]
        if self.file is not None and beside:
            raise ValueError(f"{' and '.join(beside)} stands beside file, which has all prices; leave one of them out")
        return self


class CarbonConfig(Section):
    """Marginal carbon: agents observe the rate, and infos and evaluations have an account ``carbon_kg``."""

    series: str | None = Field(
        None, description="dataset column, or quantity, with the marginal emission rate [t/MWh]; omitted: none"
    )


class Forecast(Section):
    """Forecasts that agents observe."""

    horizon_h: int = Field(6, ge=0, le=48, description="hours of load, PV and wind forecasts [h]")
    noise: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: {"load_p_pu": 0.05, "pv_pu": 0.1, "wind_pu": 0.1},
        description="standard deviation of the relative forecast error, by quantity [1]; 0 is a perfect forecast",
    )
    rho: float = Field(0.9, ge=0, lt=1, description="correlation of the error from one hour ahead to the next [1]")


class Intervals(Section):
    """Seconds between two decisions of an agent, by its level; an agent's own ``interval`` comes first."""

    device: int | None = Field(None, gt=0, description="devices [s]; omitted: every tick")
    grid: int | None = Field(None, gt=0, description="coordinators of devices [s]; omitted: every tick")
    system: int | None = Field(None, gt=0, description="operators above coordinators [s]; omitted: every tick")


RATES_S = {"device": 60, "grid": 900, "system": 3600}
"""Intervals by level where ``async: true`` stands alone, each rounded up to whole ticks [s]."""


class Simulation(Section):
    """Time, limits and the end of an episode."""

    episode_length: int = Field(96, ge=1, le=527_040, description="ticks of an episode, up to a year of minutes")
    time_step: int = Field(900, gt=0, description="length of a tick [s]")
    async_: bool | None = Field(
        None,
        alias="async",
        description="whether agents decide at intervals of their own; omitted: true if there is an interval above a "
        "tick; true without any interval: devices every 60 s, coordinators every 900 s, operators every 3600 s, each "
        "rounded up to whole ticks",
    )
    intervals: Intervals | None = Field(None, description="seconds between two decisions, by level of the agent")
    v_min_pu: float = Field(0.95, gt=0, description="lower end of the voltage band [pu]")
    v_max_pu: float = Field(1.05, gt=0, description="upper end of the voltage band [pu]")
    unbalance_max_percent: float = Field(
        2.0, gt=0, le=100, description="negative over positive sequence voltage that three-phase buses may have [%]"
    )
    terminate_on_divergence: bool = Field(False, description="whether a diverged power flow ends the episode")

    @model_validator(mode="after")
    def _band(self) -> Simulation:
        if not self.v_min_pu < self.v_max_pu:
            raise ValueError(f"v_min_pu {self.v_min_pu} must be below v_max_pu {self.v_max_pu}")
        return self


class Penalties(Section):
    """Prices of violations."""

    voltage_per_pu_h: float = Field(1000.0, ge=0, description="outside the voltage band [$/(pu bus h)]")
    overload_per_percent_h: float = Field(10.0, ge=0, description="branch loading above 100 % [$/(% h)]")
    unserved_per_mwh: float = Field(10_000.0, ge=0, description="energy not served [$/MWh]")
    unbalance_per_percent_h: float = Field(
        10.0, ge=0, description="voltage unbalance of a three-phase bus above its limit [$/(% bus h)]"
    )


class Training(Section):
    """Reward of money and violations, ``-reward_scale money - min(safety_scale cost, max_penalty)``; algorithm."""

    train: bool = Field(True, description="draw days from the training split (otherwise the test split)")
    stress_price: float | None = Field(
        None,
        gt=0,
        description="price above which a day is in the split stress and in no other [unit of the prices]; omitted: ten "
        "times the 90th percentile of the year or, if no price exceeds it, the 1 % of days with the highest prices",
    )
    reward_scale: float = Field(1.0, gt=0, description="factor on money [1/$]")
    safety_scale: float = Field(1.0, ge=0, description="factor on the priced violations [1/$]")
    max_penalty: float | None = Field(None, gt=0, description="largest penalty of a tick; omitted: none")
    cost_limits: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="limit of a constraint's priced violations, own and shared, summed over the learning agents in "
        "an episode [$]; constrained algorithms keep it",
    )
    algorithm: str | None = Field(None, description="registered algorithm of a new run; omitted: mappo")
    steps: int | None = Field(None, ge=1, description="environment steps of a new run; omitted: 1,000,000")
    imitate: str | None = Field(
        None, description="local policy that actors are fitted to before they learn; omitted: none"
    )
    residual: str | None = Field(
        None,
        description="local policy that actors of a new run learn to correct; omitted: that of the environment",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="hyperparameters of the algorithm; `powergrid train --help-algo NAME` lists them",
    )


class EnvironmentConfig(Section):
    """A whole environment."""

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="version of this format")
    name: str = Field("environment", min_length=1, description="name of the environment")
    description: str = Field("", description="purpose of the environment")
    network: Annotated[NetworkConfig, from_text(NetworkConfig, "base")] = Field(
        description="the network, or the name of a registered one"
    )
    phases: Literal["balanced", "three"] | None = Field(None, description="short form of the network's phases")
    agents: list[AgentConfig] = Field(default_factory=list, description="devices, coordinators and operators")
    protocols: list[HorizontalConfig] = Field(default_factory=list, description="protocols among peers")
    coordination: Annotated[Coordination, from_text(Coordination, "protocol")] | None = Field(
        None, description="short form of a protocol"
    )
    messages: Messages | None = Field(None, description="messages between agents; omitted: none")
    plugins: list[Place] = Field(
        default_factory=list, description="folders with device, protocol and other plugins, relative to this file"
    )
    datasets: Datasets = Field(
        DEFAULT_DATASET,
        description="registered dataset, or a file with a dataset (.npz, .yaml), or a file or "
        '"dataset:column" for each series',
    )
    residual: str | None = Field(
        None,
        description="local policy that actions of learned agents correct: 0 follows it, 1 moves its command up by the "
        "whole range; omitted: actions are the commands themselves",
    )
    tariff: TariffConfig = defaults(TariffConfig, "utility prices")
    carbon: Annotated[CarbonConfig, from_text(CarbonConfig, "series")] = defaults(CarbonConfig, "marginal carbon")
    forecast: Forecast = defaults(Forecast, "forecasts that agents see")
    simulation: Simulation = defaults(Simulation, "time and limits")
    penalties: Penalties = defaults(Penalties, "prices of violations")
    training: Training = defaults(Training, "rewards and the algorithm")

    @model_validator(mode="after")
    def _phases_once(self) -> EnvironmentConfig:
        if self.phases is not None:  # where it stands alone, it has moved into the network section
            raise ValueError("phases stands here and in the network section; leave one of them out")
        return self
