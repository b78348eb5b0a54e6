r"""Volt-var as a protocol: members give reactive power by the voltage of their terminals, alone or as a group.

``form: local``: unit i with the rating ``S_i`` gives ``q_i = S_i f(v_i)``, where `f` is a volt-var curve of IEEE Std
1547-2018, section 5.3.3: at rest within the tick, together with the power flow.

``form: distributed``: neighbours share what their curves ask for. Unit i gives ``q_i = S_i u_i`` with the utilisation
``u_i = f(v_i) + y_i``, of which the curve acts within the tick and ``y_i`` is agreed by messages between ticks. Over
each link reactive power is handed over until both ends are used alike,

    z_ij <- z_ij + c_ij (u_j - u_i),   y_i = sum_j z_ij / S_i,   c_ij = w_ij min(S_i, S_j)

in `rounds_per_tick` rounds, where ``z_ij = -z_ji`` [Mvar] is what i gives in place of j, and ``w_ij`` are the weights
of Metropolis (Xiao and Boyd, Systems & Control Letters 53, 2004). So all that is handed over sums to zero: the members
give together ``sum_i S_i f(v_i)``, as by their curves alone, and at rest each the share ``S_i / sum_j S_j`` of it.
Averaging utilisations with an integrator at each unit is the distributed voltage control of Schiffer, Seel, Raisch and
Sezi, "Voltage stability and reactive power sharing in inverter-based microgrids with consensus-based distributed
voltage control", IEEE Trans. Control Systems Technology 24(1), 2016, doi:10.1109/TCST.2015.2420622, here around a
volt-var curve in place of a voltage set point.

It is stable on the falling parts of the curve, for any number `r` of rounds. With its slope ``-k`` and the reactances
`X` between the terminals the utilisations answer to shifts `y` as ``u = (I + k X S)^-1 y``, so that a tick leaves
``(I - (I - (I - L)^r) (I + k X S)^-1) y`` of a deviation, where ``L_ij = -c_ij / S_i``. In coordinates scaled by the
roots of the ratings all factors are symmetric; the eigenvalues of ``I - (I - L)^r`` lie in [0, 2) and those of the
inverse in (0, 1], hence those of their product in [0, 2).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.curves import CATEGORY_A, CATEGORY_B, Curve, droop
from powergrid.agents.protocol import Added, Channel, Context, HorizontalProtocol, Members, ProtocolSettings
from powergrid.core.backend import Namespace, sum_into
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_CATEGORIES = {"A": CATEGORY_A, "B": CATEGORY_B}
_MOST_LINKS = 100_000
"""Directed links in a graph, beyond which a tick takes too long."""


class Settings(ProtocolSettings):
    """Parameters of volt-var."""

    form: Literal["local", "distributed"] = Field(
        "local", description="local: each unit by its own curve; distributed: neighbours in `topology` share the burden"
    )
    category: Literal["A", "B"] = Field("B", description="default curve of IEEE Std 1547-2018, table 8")
    v_pu: tuple[float, float, float, float] | None = Field(
        None,
        description="corners of the curve in place of the category's: all is injected up to the first, nothing between "
        "the second and the third, and all is absorbed from the fourth on [pu]",
    )
    q_share: float | None = Field(
        None, gt=0, le=1, description="reactive power at the outer corners over the rating [1]; that of the category"
    )
    rounds_per_tick: int = Field(10, ge=1, le=500, description="rounds of messages in a tick, form: distributed")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.v_pu is not None:
            first, second, third, fourth = self.v_pu
            if not first < second <= third < fourth:
                raise ValueError(f"v_pu {list(self.v_pu)} must rise: v1 < v2 <= v3 < v4")
            if first < 0.5 or fourth > 1.5:
                raise ValueError(f"v_pu {list(self.v_pu)} must lie between 0.5 and 1.5 pu")
        if self.form == "local" and "rounds_per_tick" in self.changed:
            raise ValueError("rounds_per_tick is for form: distributed; with form: local units send nothing")
        return self

    @property
    def curve(self) -> Curve:
        """The curve, with corners and share in place of the category's where they are given."""
        curve = _CATEGORIES[self.category]
        if self.v_pu is not None:
            first, second, third, fourth = self.v_pu
            curve = Curve(first, second, third, fourth, curve.full_share)
        return curve if self.q_share is None else curve._replace(full_share=self.q_share)


class CurveAndRounds(NamedTuple):
    """Corners [pu] and share [1] of the curve, and rounds in a tick."""

    full_low_pu: float
    low_pu: float
    high_pu: float
    full_high_pu: float
    full_share: float
    rounds_per_tick: float


class HandedOver(NamedTuple):
    """Reactive power that the receiver of each link gives in place of its sender [Mvar], ``(*batch, links)``."""

    moved_mvar: Array


class Tables(NamedTuple):
    """Members at both ends of each directed link, its weight ``w_ij min(S_i, S_j)`` [Mvar], and ratings [MVA]."""

    sender: np.ndarray
    receiver: np.ndarray
    weight_mvar: np.ndarray
    rating_mva: np.ndarray


class Sent(NamedTuple):
    """What each member gives besides its own curve, over its rating [1]."""

    volt_var_shift: Array


@register_protocol("volt_var")
class VoltVar(HorizontalProtocol):
    """Units of the members give reactive power by a volt-var curve, each by its own voltage or sharing the burden.

    Whoever decides the commands of a unit, its reactive power is the curve's; the number that a learned unit has for it
    in its action has no effect. What the active power leaves of the rating bounds it. The voltage is the mean over the
    phases of the terminal. With ``form: local`` the results are those of the policies ``volt_var`` (category B) and
    ``volt_var_a``. With ``form: distributed`` members are single units. A unit without voltage or out of service takes
    no part, and what it has handed over comes back; what a unit cannot give because its active power leaves no room is
    not handed over.
    """

    Settings = Settings
    linked = True
    needs_connected = True

    def __new__(cls, **params: Any) -> Any:
        """The form by its name; what is not valid is refused when the settings are read."""
        return super().__new__(SharedVoltVar if cls is VoltVar and params.get("form") == "distributed" else cls)

    def entries(self, members: Members) -> Added:
        """The curve.

        Raises
        ------
        ConfigError
            If links are named, which nobody uses.
        """
        if not members.graph.is_full:
            message = f"volt_var: topology {members.graph.name}: units that follow their own voltage use no links"
            raise ConfigError([Issue("protocols", message, "leave topology out, or choose form: distributed")])
        return Added(volt_var=self.settings.curve)


class SharedVoltVar(VoltVar):
    """Volt-var whose burden neighbours share."""

    Params, State = CurveAndRounds, HandedOver

    def params(self) -> CurveAndRounds:
        """The curve and the rounds."""
        curve, rounds = self.settings.curve, float(self.settings.rounds_per_tick)
        return CurveAndRounds(**curve._asdict(), rounds_per_tick=rounds)

    def entries(self, members: Members) -> Added:
        """The curve, and what each member gives besides.

        Raises
        ------
        ConfigError
            If a member is no single unit with reactive power, or the graph has too many links.
        """
        for member in members:
            if [inverter.id for inverter in member.inverters] != [member.id]:
                message = f'volt_var: "{member.id}" is no unit with reactive power'
                action = "with form: distributed name units themselves as members, with sn_mva"
                raise ConfigError([Issue("protocols", message, action)])
        links = members.graph.links
        if len(links) > _MOST_LINKS:
            message = f"volt_var: topology {members.graph.name} has {len(links):,} directed links"
            action = f"at most {_MOST_LINKS:,}: choose topology star, neighbours or feeder"
            raise ConfigError([Issue("protocols", message, action)])
        rating = np.array([member.inverters[0].rating_mva for member in members])
        smaller = np.minimum(rating[links[:, 0]], rating[links[:, 1]])
        return Added(
            channels=(Channel("volt_var_shift", "1", -1.0, 1.0, stands_for="volt_var_shift"),),
            volt_var=self.settings.curve,
            tables=Tables(links[:, 0], links[:, 1], members.graph.metropolis * smaller, rating),
            widths=(len(links),),
        )

    @staticmethod
    def after(
        xp: Namespace, ctx: Context, state: HandedOver, metered_mwh: Array
    ) -> tuple[HandedOver, Sent, tuple[()], tuple[()]]:
        """Hand reactive power over the links between units with voltage until all are used alike."""
        here, given = ctx.tables, ctx.params
        curve = Curve(given.full_low_pu, given.low_pu, given.high_pu, given.full_high_pu, given.full_share)
        alive, size = ctx.works * (ctx.v_pu > 0.0), metered_mwh.shape[-1]
        own = alive * droop(xp, ctx.v_pu, curve)
        both = xp.take(alive, here.sender, axis=-1) * xp.take(alive, here.receiver, axis=-1)
        moved, weight = both * state.moved_mvar, both * here.weight_mvar
        shift = sum_into(xp, moved, here.receiver, size) / here.rating_mva
        for _ in range(int(given.rounds_per_tick)):
            used = own + shift
            moved = moved + weight * (xp.take(used, here.sender, axis=-1) - xp.take(used, here.receiver, axis=-1))
            shift = sum_into(xp, moved, here.receiver, size) / here.rating_mva
        return HandedOver(moved), Sent(shift), (), ()
