"""Data centre: a load of which a part can wait."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, Outlook, Refill, decide_on
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import inside
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """Parameters of a data centre, or any other load whose work can wait."""

    p_max_mw: float = Field(
        1.0,
        gt=0,
        json_schema_extra={"rating": False},  # the site draws this times `pue`
        description="largest power of the machines, without cooling [MW]",
    )
    idle_share: float = Field(0.3, ge=0, lt=1, description="power of idle machines over the largest [1]")
    interactive_share: float = Field(0.35, ge=0, lt=1, description="work that cannot wait, at a series value of 1 [1]")
    batch_share: float = Field(0.2, ge=0, lt=1, description="mean of the work that can wait, at all times [1]")
    max_wait_h: float = Field(8.0, gt=0, description="longest that work waits, at its mean rate [h]")
    pue: float = Field(1.5, ge=1, le=3, description="power of the whole site over that of the machines [1]")
    series: str = Field("load_p_pu", description="dataset column of the work that cannot wait [pu]")
    waiting_cost_per_mwh_h: float = Field(0.5, ge=0, description="cost of work that waits [$/(MWh h)]")

    @property
    def work_max_mw(self) -> float:
        """Largest power of work [MW], without cooling, as all that follow."""
        return (1.0 - self.idle_share) * self.p_max_mw

    @property
    def idle_mw(self) -> float:
        """Power of idle machines [MW]."""
        return self.idle_share * self.p_max_mw

    @property
    def interactive_mw(self) -> float:
        """Work that cannot wait, at a series value of 1 [MW]."""
        return self.interactive_share * self.p_max_mw

    @property
    def batch_mw(self) -> float:
        """Work that can wait [MW]."""
        return self.batch_share * self.p_max_mw

    @property
    def queue_max_mwh(self) -> float:
        """Most work that may wait [MWh]."""
        return max(self.batch_mw, 1e-9) * self.max_wait_h

    @property
    def site_max_mw(self) -> float:
        """Largest power of the whole site [MW]."""
        return self.pue * self.p_max_mw

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        needed = self.idle_share + self.interactive_share + self.batch_share
        if needed > 1.0:
            raise ValueError(
                f"idle_share {self.idle_share}, interactive_share {self.interactive_share} and batch_share "
                f"{self.batch_share} must not exceed 1 together, found {needed:g}"
            )
        return self


class State(NamedTuple):
    """Work that waits [MWh], and work done [MW] and turned away [MWh] in the last tick."""

    queue_mwh: Array = 0.0
    work_mw: Array = 0.0
    refused_mwh: Array = 0.0


class Command(NamedTuple):
    """Wanted share of the free machines that work on what waits [1]."""

    work_share: Array = 1.0


class Exogenous(NamedTuple):
    """Work that cannot wait [pu of its share]."""

    load_pu: Array


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Do what cannot wait, and as much of what waits as commanded; a full queue is worked on in any case.

    ``B' = B + a dt - w dt`` with ``0 <= B <= B_max``, and ``p = PUE (p_idle + w_interactive + w)`` for machines whose
    power is linear in their work: Liu et al., "Renewable and cooling aware workload management for sustainable data
    centers", ACM SIGMETRICS Performance Evaluation Review 40(1), 2012, doi:10.1145/2318857.2254779. What finds neither
    a machine nor a place in the queue is turned away.
    """
    interactive_mw = xp.minimum(params.interactive_mw * inside(xp, exogenous.load_pu, 0.0, 1e6), params.work_max_mw)
    free_mw = params.work_max_mw - interactive_mw
    waiting_mwh = state.queue_mwh + params.batch_mw * dt_h
    wanted_mw = free_mw * inside(xp, command.work_share, 0.0, 1.0)
    forced_mw = xp.maximum(waiting_mwh - params.queue_max_mwh, 0.0) / dt_h
    work_mw = xp.minimum(xp.minimum(xp.maximum(wanted_mw, forced_mw), free_mw), waiting_mwh / dt_h)
    left_mwh = xp.maximum(waiting_mwh - work_mw * dt_h, 0.0)
    refused_mwh = xp.maximum(left_mwh - params.queue_max_mwh, 0.0)
    p_mw = -params.pue * (params.idle_mw + interactive_mw + work_mw)
    return State(left_mwh - refused_mwh, interactive_mw + work_mw, refused_mwh), Injection(p_mw, p_mw * 0.0)


def failed(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """No work is done: what can wait queues up, the rest is turned away."""
    interactive_mw = xp.minimum(params.interactive_mw * inside(xp, exogenous.load_pu, 0.0, 1e6), params.work_max_mw)
    waiting_mwh = state.queue_mwh + params.batch_mw * dt_h
    queue_mwh = xp.minimum(waiting_mwh, params.queue_max_mwh)
    return State(queue_mwh, state.work_mw * 0.0, waiting_mwh - queue_mwh + interactive_mw * dt_h)


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Work that waits, and work turned away as if it had waited a week [$]."""
    return (params.waiting_cost_per_mwh_h * (state.queue_mwh * dt_h + 168.0 * state.refused_mwh),)


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """Work that waits will need its energy later: it counts against the account [$]."""
    return -params.pue * state.queue_mwh * settlement_per_mwh


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """How full the queue is, and power."""
    return state.queue_mwh / params.queue_max_mwh, -injection.p_mw


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Work on everything where energy is no dearer than on average in the next day, else on nothing."""
    zero = outlook.price_per_mwh * 0.0
    cheap = decide_on(xp, outlook.price_per_mwh - outlook.mean_price_per_mwh) <= 0.0
    return Command(xp.where(cheap, zero + 1.0, zero))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """Work is useful; idling and cooling lose [MWh]."""
    machines_mw = params.idle_mw + after.work_mw
    return Energy(
        primary_in=injection.p_mw * 0.0,
        stored=injection.p_mw * 0.0,
        useful_out=after.work_mw * dt_h,
        lost=(params.idle_mw + (params.pue - 1.0) * machines_mw) * dt_h,
    )


@register_device("DataCenter", aliases=("DataCentre", "data_center", "DeferrableLoad"))
class DataCenter(DeviceAgent, from_module=True):
    """Load with a queue of work that can wait, as in a data centre."""

    ranges = {"work_share": (0.0, 1.0)}
    reading_ranges = {"queue": (0.0, 1.0), "p_used_mw": (0.0, "site_max_mw")}
    plannable = False
    money_names = ("waiting",)

    def series(self) -> dict[str, str]:
        """The column of the settings."""
        return {"load_pu": self.settings.series}

    def refill(self) -> Refill:
        """A full queue on all machines that interactive work leaves free, within the time that work waits."""
        row = self.params()
        free_mw = row.work_max_mw - row.interactive_mw
        return Refill(row.queue_max_mwh / max(free_mw, 1e-9), within_h=self.settings.max_wait_h)

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Its power range, idle to full: the queue is left out, so that a bound stays one."""
        settings = self.settings
        return LinearDevice(
            p_min_mw=-settings.site_max_mw, p_max_mw=-settings.pue * settings.idle_share * settings.p_max_mw
        )
