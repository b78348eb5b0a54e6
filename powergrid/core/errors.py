"""Errors that name the place, the value, what is allowed, the nearest match and the next action."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Issue:
    """One fault, and how to correct it.

    Attributes
    ----------
    path
        Where, in the user's own words: ``agents[2].params.capacity_mwh``.
    message
        What is wrong, with the value found.
    hint
        What is allowed, the nearest match or the next action.
    file, line
        The file and its line (from 1), where there is one.
    """

    path: str
    message: str
    hint: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line is not None else "")
        head = ": ".join(part for part in (place, self.path, self.message) if part)
        return f"{head}\n    {self.hint}" if self.hint else head


class PowerGridError(Exception):
    """Base of every error that PowerGrid raises on purpose."""


class ConfigError(PowerGridError):
    """A configuration that cannot be used; carries every issue found, not only the first."""

    def __init__(self, issues: Sequence[Issue]):
        self.issues = tuple(issues)
        count = f"{len(self.issues)} problem" + ("" if len(self.issues) == 1 else "s")
        super().__init__("\n".join([f"{count} in the configuration:", *(f"  {issue}" for issue in self.issues)]))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.issues,)


class NetworkError(PowerGridError):
    """A network that cannot be represented, or a bus or branch that does not exist."""


class NetworkFaults(NetworkError):
    """A network that cannot be solved as it stands; carries every fault found, not only the first.

    Attributes
    ----------
    issues
        Each fault: the table and row, what is wrong and what to do.
    """

    def __init__(self, name: str, issues: Sequence[Issue]):
        self.name, self.issues = name, tuple(issues)
        count = f"{len(self.issues)} fault" + ("" if len(self.issues) == 1 else "s")
        super().__init__("\n".join([f'network "{name}" has {count}:', *(f"  {issue}" for issue in self.issues)]))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.issues)


class NetworkWarning(UserWarning):
    """A property of a network that can be solved, but is probably a mistake."""


class DataError(PowerGridError):
    """A series with gaps, NaN, a wrong unit or too short a length."""


class ActionError(PowerGridError):
    """An action that is missing, of the wrong shape or not a number; the message names the agent."""


class ArgumentError(PowerGridError, ValueError):
    """An argument that cannot be used: a seed, an option, a state; the message names the value and what is allowed."""


class DeviceError(PowerGridError):
    """A plugin device that violates the contract of devices; the message names the device, the method and the value.

    Attributes
    ----------
    device
        Its id.
    kind
        Its class.
    sentence
        What is wrong.
    """

    def __init__(self, device: str, kind: str, sentence: str):
        self.device, self.kind, self.sentence = device, kind, sentence
        super().__init__(f'device "{device}" ({kind}): {sentence}')

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.device, self.kind, self.sentence)


class AgentError(PowerGridError, ValueError):
    """An agent that decides in Python and cannot be asked, fails, or returns no action; the message names the agent."""


class NotCompilableError(PowerGridError):
    """Code that cannot be compiled here, such as a device family's kernels; the message holds the reason."""


class RunError(PowerGridError):
    """A run folder or checkpoint that cannot be read or written."""


class UnknownNameError(PowerGridError, KeyError):
    """A name that is in no registry."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0])


class MissingExtraError(PowerGridError, ImportError):
    """An optional library is needed and absent; the message names the extra that installs it."""

    def __init__(self, library: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs {library}: pip install 'powergrid-marl[{extra}]'")


def nearest(name: str, options: Iterable[str]) -> str:
    """Return ``'did you mean "heat_pump"?'`` for the option closest to `name`, or an empty string."""
    folded = {option.lower(): option for option in options}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f'did you mean "{folded[close[0]]}"?' if close else ""


def unknown_name(kind: str, name: str, options: Iterable[str]) -> UnknownNameError:
    """Error for a name that is not among `options`, with the nearest match and the full list."""
    known = sorted(options)
    parts = [f'unknown {kind} "{name}"', nearest(name, known), f"available: {', '.join(known)}"]
    return UnknownNameError("; ".join(part for part in parts if part))
