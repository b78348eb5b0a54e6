"""The state of a device of version 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class DeviceState:
    """Numbers of a device; None where a device has no such number.

    Attributes
    ----------
    P, Q
        Active and reactive power [MW, Mvar]: generation of a generator, consumption of a storage (positive charges).
    on
        1 in service, 0 not.
    Pmax, Pmin, Qmax, Qmin
        Limits [MW, Mvar]; P enters the vector only where `Pmax` is given, Q where `Qmax` is.
    shutting, starting
        Steps counted on the way off and on.
    soc
        State of charge, share of the capacity [1].
    max_step, step
        Highest step of a shunt and its present one as one-hot vector, ``(max_step + 1,)``.
    tap_max, tap_min, tap_position
        Tap range and position [steps].
    loading_percentage
        Loading of a transformer [%].
    price
        Price at the grid [$/MWh].
    closed
        1 closed, 0 open; of a switch.
    """

    P: float = 0.0
    Q: float = 0.0
    on: int = 1
    Pmax: float | None = None
    Pmin: float | None = None
    Qmax: float | None = None
    Qmin: float | None = None
    shutting: int | None = None
    starting: int | None = None
    soc: float | None = None
    max_step: int | None = None
    step: np.ndarray | None = None
    tap_max: int | None = None
    tap_min: int | None = None
    tap_position: int | None = None
    loading_percentage: float | None = None
    price: float | None = None
    closed: int | None = None

    def as_vector(self) -> np.ndarray:
        """The numbers that are not None, in v1's order, float64.

        P, Q, price/100, [off, on] and shutting, starting, soc, shunt step, tap position (both one-hot), loading/100,
        [open, closed].
        """
        numbers: list[float] = []
        if self.Pmax is not None:
            numbers.append(self.P)
        if self.Qmax is not None:
            numbers.append(self.Q)
        if self.price is not None:
            numbers.append(self.price / 100.0)
        if self.shutting is not None:
            numbers += [*_one_hot(int(bool(self.on)), 2), self.shutting]
        if self.starting is not None:
            numbers.append(self.starting)
        if self.soc is not None:
            numbers.append(self.soc)
        if self.max_step is not None:
            numbers += [0.0] * (self.max_step + 1) if self.step is None else np.asarray(self.step, float).tolist()
        if self.tap_max is not None and self.tap_min is not None:
            count = self.tap_max - self.tap_min + 1
            place = 0 if self.tap_position is None else self.tap_position - self.tap_min
            numbers += _one_hot(min(max(int(place), 0), count - 1), count)
        if self.loading_percentage is not None:
            numbers.append(self.loading_percentage / 100.0)
        if self.closed is not None:
            numbers += _one_hot(int(bool(self.closed)), 2)
        return np.array(numbers, dtype=float)


def _one_hot(place: int, count: int) -> list[float]:
    return [float(k == place) for k in range(count)]
