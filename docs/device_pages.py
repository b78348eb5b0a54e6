"""Write a reference page for every registered device type; `conf.py` runs this before each build.

    python docs/device_pages.py        # the same by hand, into docs/reference/devices

All content comes from the code: docstrings of the class and its kernels, parameters with units, defaults and bounds,
commands, observations and inputs of a unit, its money, plots, and an example in YAML.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import device_plots

from powergrid.devices._shared import relax
from powergrid.plugins.registries import DEVICES

FOLDER = Path(__file__).parent / "reference" / "devices"
_USUAL = {"step", "rule", "reset", "money", "worth", "violation", "readings", "energy"}
_ROLE = {
    "injection": "a bus",
    "tap": "a regulated branch of the network",
    "cap": "a switchable shunt of the network",
    "meter": "a metered branch (empty: the source)",
    "switch": "a branch of the network",
}


def paragraphs(item: Any) -> list[str]:
    """Paragraphs of a docstring, one line each, roles as plain code."""
    text = re.sub(r":(?:func|mod|class|data):`~?([^`]+)`", r"`\1`", inspect.getdoc(item) or "")
    return [" ".join(part.split()).replace("``", "`") for part in text.split("\n\n") if part.strip()]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in lines] + [""]


def unit_of(text: str) -> tuple[str, str]:
    """A description without its unit, and the unit."""
    found = re.search(r"\s*\[([^\]]+)\]", text)
    return (text, "") if found is None else (text.replace(found.group(0), "", 1), found.group(1))


def parameter_rows(device: Any) -> list[list[str]]:
    """Parameter, default, bounds, unit and meaning."""
    rows = []
    for key, field in device.Settings.model_json_schema(by_alias=False)["properties"].items():
        meaning, unit = unit_of(field.get("description", ""))
        default = field.get("default")
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else _short(default)}`"
        rows.append([f"`{key}`", shown, bounds(field), unit, meaning])
    return rows


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def bounds(field: dict[str, Any]) -> str:
    """Bounds of a number, or the words allowed."""
    options = field.get("anyOf", [field])
    words = [repr(word).replace("'", '"') for option in options for word in option.get("enum", ())]
    if words:
        return ", ".join(words)
    numbers = [option for option in options if option.get("type") in ("number", "integer")]
    signs = (("exclusiveMinimum", "> "), ("minimum", ">= "), ("exclusiveMaximum", "< "), ("maximum", "<= "))
    return ", ".join(f"{sign}{numbers[0][key]:g}" for key, sign in signs if key in numbers[0]) if numbers else ""


def kernels(device: Any) -> list[str]:
    """The formulas of the step, and of the functions it is made of."""
    lines = [f"**Step.** {' '.join(paragraphs(device.step))}", ""]
    module = sys.modules[device.__module__]
    for key, value in vars(module).items():
        own = inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
        if own and key not in _USUAL:
            kept = [part for part in paragraphs(value) if not re.match(r"(Parameters|Returns|Raises) -", part)]
            lines += [f"**`{key}`.** {' '.join(kept)}", ""]
    if {"relax", "heated"} & set(vars(module)):
        lines += [f"**Temperature.** {' '.join(paragraphs(relax))}", ""]
    lines += [f"**Rule** (policy `rule_based`). {' '.join(paragraphs(device.rule))}", ""]
    lines += [f"**Energy account.** {' '.join(paragraphs(device.energy))}", ""]
    return lines


def money(device: Any, made: Any) -> list[str]:
    """Money, priced violations, and the worth of what the unit stores."""
    lines = []
    for names, kernel, word in (
        (device.money_names, device.money, "Money"),
        (device.violation_names, device.violation, "Violations"),
    ):
        if names:
            listed = ", ".join(f"`{name}`" for name in names)
            lines += [f"**{word}** ({listed}). {' '.join(paragraphs(kernel))}", ""]
    base = inspect.getattr_static(device.__mro__[1], "worth").__func__
    if device.worth is not base:
        lines += [f"**Settlement of stored energy.** {' '.join(paragraphs(device.worth))}", ""]
    return lines or ["The device has no costs of its own.", ""]


def spaces(made: Any) -> list[str]:
    """Commands, observations and inputs."""
    acts, seen = made.action_entries(), made.observation_entries()
    every = made.Command._fields
    lines = [
        f"Commands: {', '.join(f'`{name}`' for name in every) or 'none'}"
        + (f". With default parameters the agent chooses {_listed(acts)}." if every else "."),
        "",
        *table(
            ["observation", "unit", "lowest", "highest"],
            [[e.name, e.unit, f"{e.low:.4g}", f"{e.high:.4g}"] for e in seen],
        ),
    ]
    if made.Exogenous._fields:
        source = made.series()
        rows = [[f"`{name}`", f"`{source.get(name, name)}`"] for name in made.Exogenous._fields]
        lines += table(["input", "dataset column or measurement"], rows)
    return lines


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def example(name: str, device: Any) -> list[str]:
    """A unit in a configuration, with its first three numeric parameters."""
    properties = device.Settings.model_json_schema(by_alias=False)["properties"]
    numbers = [(key, field["default"]) for key, field in properties.items() if isinstance(field.get("default"), float)]
    params = ", ".join(f"{key}: {_short(value)}" for key, value in numbers[:3])
    place = "" if device.role == "meter" else f", bus: {'671' if device.role == 'injection' else 'NAME'}"
    policy = f", policy: {device.default_policy}"
    return [
        "```yaml",
        "agents:",
        f"  - {{id: {name.lower()}_1, type: {name}{place}, params: {{{params}}}{policy}}}",
        "```",
        "",
        f"`bus` names {_ROLE[device.role]}.",
        "",
    ]


def page(name: str) -> str:
    """Text of one page."""
    device = DEVICES.get(name)
    made = device("unit", "bus")
    about, *more = paragraphs(device)
    also = ", ".join(f"`{alias}`" for alias in DEVICES.aliases(name))
    lines = [f"# {name}", "", about, "", *(f"{part}\n" for part in more), f"Also known as {also}.", ""]
    if device_plots.picture(name, FOLDER / f"{name}.png"):
        shown = device_plots.SHOWN.get(name)
        odd = "" if not shown else f" The day is computed with {', '.join(f'`{k}: {v}`' for k, v in shown.items())}."
        caption = f"The plots use the default parameters unless a legend gives others.{odd}"
        lines += [f"![Characteristic and behaviour of {name}]({name}.png)", "", caption, ""]
    lines += ["## Physics", "", *kernels(device)]
    lines += ["## Money", "", *money(device, made)]
    lines += ["## Parameters", "", *(f"{part}\n" for part in paragraphs(device.Settings))]
    lines += table(["parameter", "default", "bounds", "unit", "meaning"], parameter_rows(device))
    lines += ["## Commands and observations", "", *spaces(made)]
    lines += ["## In a configuration", "", *example(name, device)]
    return "\n".join(lines)


def write() -> None:
    """Write all pages and their index. Unchanged pages keep their time stamps, so that builds stay short."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = [name for name in DEVICES.names() if DEVICES.get(name).__module__.startswith("powergrid.")]
    rows = [[f"[{name}]({name}.md)", paragraphs(DEVICES.get(name))[0]] for name in names]
    index = [
        "# Devices",
        "",
        "Each device type has one page, generated from the code.",
        "",
        *table(["type", "description"], rows),
    ]
    index += ["```{toctree}", ":hidden:", "", *names, "```", ""]
    for name, text in [("index", "\n".join(index)), *((name, page(name)) for name in names)]:
        file = FOLDER / f"{name}.md"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
