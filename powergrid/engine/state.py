"""What changes during an episode, and what a step gives back."""

from __future__ import annotations

from typing import Any, NamedTuple

from powergrid.core.types import Array, Flow
from powergrid.engine.availability import Absences
from powergrid.engine.switching import Outages


class State(NamedTuple):
    """The truth during an episode; every leaf has the batch axes in front.

    Attributes
    ----------
    tick
        Ticks since reset.
    row
        Row of the exogenous table that holds the running tick.
    key
        Random key, uint32 ``(*batch, 2)``.
    devices
        State of every family.
    layers
        State of every protocol.
    policies
        Memory of every local policy with a kernel.
    signals
        What agents received last from protocols, and which devices are out of service in this tick, ``(*batch, S)``.
    slots
        Actions held, ``(*batch, K)``; before the curves of inverters that follow their voltage.
    v_re, v_im
        Bus voltages of the last solved tick [pu], ``(*batch, m)``.
    settlement_per_mwh
        Prices at which stored energy is settled: what putting it back after the episode costs [$/MWh], ``(*batch, s)``.
    outages
        What fails of the network in this episode, and when.
    absences
        When devices are out of service in this episode.
    """

    tick: Array
    row: Array
    key: Array
    devices: tuple[Any, ...]
    layers: tuple[Any, ...]
    policies: tuple[Any, ...]
    signals: Array
    slots: Array
    v_re: Array
    v_im: Array
    settlement_per_mwh: Array
    outages: Outages
    absences: Absences


class First(NamedTuple):
    """What a reset gives.

    Attributes
    ----------
    state
        State before the first tick.
    observation, central
        As of :class:`Output`.
    converged
        Whether the power flow of the network with idle devices was solved, ``(*batch,)``.
    available
        As of :class:`Output`.
    """

    state: State
    observation: Array
    central: Array
    converged: Array
    available: Array


class Exogenous(NamedTuple):
    """Rows of the exogenous table for the running tick and for the one that follows, ``(*batch, W)``."""

    now: Array
    following: Array


class Noise(NamedTuple):
    """Random numbers of one step.

    Attributes
    ----------
    forecast
        Factors on the true futures, ``(*batch, hours * series)``.
    policy
        Uniform in [0, 1) for random policies, ``(*batch, K)``.
    protocols
        Uniform in [0, 1) for protocols, one per member, ``(*batch, members of all layers)``.
    """

    forecast: Array
    policy: Array
    protocols: Array


class Output(NamedTuple):
    """What a step gives back besides the state.

    Attributes
    ----------
    observation
        Numbers of all agents, one after the other, in physical units, clipped to their bounds, ``(*batch, N)``; see
        :class:`powergrid.engine.view.View`.
    central
        State for a central critic, ``(*batch, c)``.
    money
        Costs [$], ``(*batch, accounts, names)``.
    costs
        Priced constraint violations [$], ``(*batch, accounts, names)``.
    transfers
        Money received from trades and tariffs [$], ``(*batch, accounts + 1)``, the utility last; rows sum to zero.
    p_mw, q_mvar
        Injection of every unit [MW, Mvar], ``(*batch, N)``.
    measured_mw
        Measurements [MW], import positive, ``(*batch, Q)``.
    flow
        The power flow.
    clipped
        Numbers of each action that lay outside [-1, 1], ``(*batch, A)``.
    due
        Whether each actor acted in this tick, ``(*batch, A)``: it was due, and its action moved something in service.
    done
        Whether physics ended the episode, ``(*batch,)``.
    last
        Whether this was the last tick of the time limit, ``(*batch,)``.
    frequency_hz
        Frequency at every unit [Hz], ``(*batch, N)``: nominal beside the source, 0 without voltage. Without columns
        where no unit forms the grid of an island.
    available
        Whether each actor has a unit in service with voltage, ``(*batch, A)``; see ``Layout.available``.
    """

    observation: Array
    central: Array
    money: Array
    costs: Array
    transfers: Array
    p_mw: Array
    q_mvar: Array
    measured_mw: Array
    flow: Flow
    clipped: Array
    due: Array
    done: Array
    last: Array
    frequency_hz: Array
    available: Array
