"""Volt-watt as a protocol: members limit their active power by the voltage of their terminals."""

from __future__ import annotations

from math import nan

from pydantic import Field, model_validator

from powergrid.agents.curves import BEGIN_PU, END_PU, Limit
from powergrid.agents.protocol import Added, HorizontalProtocol, Members, ProtocolSettings
from powergrid.plugins import register_protocol


class Settings(ProtocolSettings):
    """Parameters of volt-watt."""

    v_begin_pu: float = Field(
        BEGIN_PU, gt=1.0, le=1.5, description="voltage up to which the rated power is allowed [pu]"
    )
    v_end_pu: float = Field(END_PU, gt=1.0, le=1.5, description="voltage from which on the least is allowed [pu]")
    left_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="what is then allowed, over the rated power [1]; if not given the unit's lowest power, at most 0.2",
    )

    @model_validator(mode="after")
    def _falling(self) -> Settings:
        if not self.v_begin_pu < self.v_end_pu:
            raise ValueError(f"v_begin_pu {self.v_begin_pu:g} must be below v_end_pu {self.v_end_pu:g}")
        return self


@register_protocol("volt_watt")
class VoltWatt(HorizontalProtocol):
    r"""Units of the members inject no more than the volt-watt curve of IEEE Std 1547-2018 allows (section 5.4.2).

    With the rated power :math:`P_r` and the voltage `v` of its terminal, the mean over its phases, a unit injects at
    most

    .. math:: P_r \left(1 - (1 - l) \min\Bigl(\max\Bigl(\frac{v - v_1}{v_2 - v_1}, 0\Bigr), 1\Bigr)\right)

    with `v_begin_pu` :math:`v_1`, `v_end_pu` :math:`v_2` and `left_share` :math:`l`. The defaults are those of table
    10. Whoever decides the power of a unit, a learned agent, a rule or another protocol, decides it below that limit.
    Loads and charging are not limited, and no unit is below its lowest power. Inverters act in seconds: they come to
    rest within the tick, together with the power flow, as with the policy ``volt_watt``.
    """

    Settings = Settings

    def entries(self, members: Members) -> Added:
        """The curve."""
        given = self.settings
        return Added(
            volt_watt=Limit(given.v_begin_pu, given.v_end_pu, nan if given.left_share is None else given.left_share)
        )
