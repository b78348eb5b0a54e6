"""The policies that are data: what each fills commands and orders with, and which curves its units follow."""

from __future__ import annotations

from powergrid.agents.curves import CATEGORY_A, CATEGORY_B
from powergrid.agents.policy import LocalPolicy
from powergrid.plugins import register_policy

POWER = ("p_mw", "p_share", "commit")


@register_policy("rule_based", aliases=("price_response",))
class RuleBased(LocalPolicy):
    """A competent operator: every device follows its family's rule, every member of a protocol the protocol's."""

    own_curves = True


@register_policy("drain")
class Drain(RuleBased):
    """As ``rule_based``, but every unit with a state of charge injects all it can; shows whether emptying it pays."""

    stores = 1.0


@register_policy("hoard")
class Hoard(RuleBased):
    """As ``rule_based``, but every unit with a state of charge draws all it can; shows whether filling it pays."""

    stores = -1.0


@register_policy("no_trade")
class NoTrade(RuleBased):
    """As ``rule_based``, but no member takes part in a protocol; shows the worth of coordination."""

    orders = "abstain"


@register_policy("idle")
class Idle(LocalPolicy):
    """All commands as before the first decision; shows the cost of a day without decisions.

    Batteries rest, generators run at their lowest power, renewables feed in what they can, loads are served, and
    orders stay in the middle of their range.
    """

    usual = orders = "rest"


@register_policy("mppt")
class MaximumPowerPoint(LocalPolicy):
    """Maximum power point tracking: the full share of the available power, no reactive power."""

    usual = orders = "middle"
    fixed = {"p_share": 1.0}  # noqa: RUF012


@register_policy("all_export")
class AllExport(Idle):
    """Batteries discharge, generators and renewables run in full, all else is ``idle``: the careless seller."""

    fixed = dict.fromkeys(POWER, 1.0)


@register_policy("all_import")
class AllImport(Idle):
    """Batteries charge, generators stop, renewables are curtailed, all else is ``idle``."""

    fixed = dict.fromkeys(POWER, -1.0)


@register_policy("random")
class Random(LocalPolicy):
    """Uniform in [-1, 1], from the environment's own seeded numbers."""

    usual = orders = "random"


@register_policy("volt_var")
class VoltVar(RuleBased):
    """Reactive power of every inverter by the voltage of its terminal; taps as their relays ask.

    The default curve of category B in IEEE Std 1547-2018, table 8: 44 % of the rating injected at 0.92 pu and below,
    none between 0.98 and 1.02 pu, 44 % absorbed at 1.08 pu and above; the mean over the phases of a device. Inverters
    act in seconds, so they come to rest within the tick, together with the power flow. Regulators that commands move
    make the steps their relays would make on the last voltages, upstream first; everything else is as ``rule_based``
    has it.
    """

    relays = True
    volt_var = CATEGORY_B


@register_policy("volt_var_a")
class VoltVarA(VoltVar):
    """As ``volt_var``, with the default curve of category A, which has no dead band.

    25 % of the rating injected at 0.90 pu and below, none at 1.00 pu, 25 % absorbed at 1.10 pu and above.
    """

    volt_var = CATEGORY_A


@register_policy("volt_var_watt")
class VoltVarWatt(VoltVar):
    """Reactive power as ``volt_var``, active power no more than ``volt_watt`` allows."""

    volt_watt = True


@register_policy("volt_watt")
class VoltWatt(RuleBased):
    """Active power as ``rule_based`` has it, but no more than the voltage of the terminal allows.

    The default curve of IEEE Std 1547-2018, table 10, the same for categories A and B: rated power up to 1.06 pu, then
    falling on a straight line to the lesser of 20 % and the unit's lowest power at 1.10 pu, which is none for solar
    plants and for units that also draw power. Loads and charging are not limited. Inverters act in seconds, so they
    come to rest within the tick, together with the power flow.
    """

    volt_watt = True
