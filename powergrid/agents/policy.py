"""Local policies: what decides inside the step, in place of outside code.

Most policies are data: what they choose for each number of a command, and which curves their units follow. A policy
with a formula of its own is a class with a kernel `act`, written and compiled like those of devices; it may keep a
memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from powergrid.agents.curves import Curve
from powergrid.core.backend import Namespace
from powergrid.core.settings import NumberSettings
from powergrid.core.types import Array

Choice = Literal["rule", "rest", "middle", "random", "abstain"]
"""What fills a number of an action: the rule of the family or protocol, what it holds before the first decision, the
middle of its range, a random number; for orders also those with which a member takes no part."""


class NoMemory(NamedTuple):
    """Memory of a policy that keeps nothing."""


class Unit(NamedTuple):
    """What the kernel of a policy may use of the units of one family, columns ``(*batch, n)``.

    Attributes
    ----------
    params, state, exogenous
        The family's own columns.
    outlook
        Prices and the neighbourhood's balance, see :class:`powergrid.agents.device_agent.Outlook`.
    v_pu
        Voltage at the unit's terminal in the last tick [pu].
    uniform
        Random numbers in [0, 1), one per unit and tick; zeros unless the policy is `noisy`.
    held
        The command that holds so far, in physical units.
    rule
        The command of the family's own rule, in physical units.
    """

    params: Any
    state: Any
    exogenous: Any
    outlook: Any
    v_pu: Array
    uniform: Array
    held: Any
    rule: Any


class LocalPolicy:
    """Base of local policies; an object of it decides for any number of agents.

    Parameters
    ----------
    **params
        The policy's `Settings` by name.

    Attributes
    ----------
    usual
        What fills a command where nothing else is said.
    fixed
        Shares in [-1, 1] of the ranges of command fields, by name.
    stores
        Share of the range of active power for whatever has a state of charge; ``None`` leaves it as the others.
    orders
        What fills orders in protocols.
    relays
        Whether regulators that commands move make the steps that their relays would make.
    volt_var, volt_watt
        Curve of reactive power, and whether active power is limited where the voltage is high. The step settles both
        together with the power flow.
    own_curves
        Whether devices with a curve of their own, such as a ``Statcom``, follow it where `volt_var` is ``None``.
    noisy
        Whether `act` uses random numbers.
    """

    usual: ClassVar[Choice] = "rule"
    fixed: ClassVar[Mapping[str, float]] = {}
    stores: ClassVar[float | None] = None
    orders: ClassVar[Choice] = "rule"
    relays: ClassVar[bool] = False
    volt_var: ClassVar[Curve | None] = None
    volt_watt: ClassVar[bool] = False
    own_curves: ClassVar[bool] = False
    noisy: ClassVar[bool] = False

    Settings: ClassVar[type[NumberSettings]] = NumberSettings
    Params: ClassVar[Any] = NoMemory
    State: ClassVar[Any] = NoMemory

    act: ClassVar[Any] = None
    """Kernel ``act(xp, params, memory, unit, dt_h) -> (memory, command)`` over columns, as those of devices; `unit` is
    a :class:`Unit`, the command has the family's own fields in physical units, such as
    ``unit.rule._replace(q_mvar=...)``. ``None``: the policy is data."""

    def __init__(self, **params: Any):
        self.settings = self.Settings(**params)

    def params(self) -> Any:
        """The settings as plain numbers, `Params`."""
        return self.Params(*(float(getattr(self.settings, name)) for name in self.Params._fields))

    @classmethod
    def initial(cls, xp: Namespace, batch: tuple[int, ...], units: int, dtype: Any) -> Any:
        """Memory at reset: zeros."""
        return cls.State(*(xp.zeros((*batch, units), dtype=dtype) for _ in cls.State._fields))


def is_policy(item: Any) -> bool:
    """Whether something registered is a class of local policies."""
    return isinstance(item, type) and issubclass(item, LocalPolicy)
