"""``powergrid show``: a configuration or a network in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from powergrid.cli.sources import PLUGINS_HELP, bare_network

if TYPE_CHECKING:
    from rich.tree import Tree

    from powergrid.config.resolve import ResolvedConfig


def show_command(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|NETWORK|FILE", help="A preset, a network, or a file that describes one.")
    ],
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the network into this file (png, svg, pdf).")
    ] = None,
    spaces: Annotated[bool, typer.Option(help="List every entry of observations and actions.")] = True,
    plugins: Annotated[bool, typer.Option("--plugins", help=PLUGINS_HELP)] = False,
) -> None:
    """Show a configuration: agents and protocols, the network, and all observations and actions by name.

    For a registered network or a pandapower file: its size, and the voltages under its own loads.

    Examples:

    - `powergrid show p2p_microgrids`

    - `powergrid show my_microgrid.yaml --no-spaces --plot network.png`

    - `powergrid show ieee123 --plot ieee123.png`
    """
    import powergrid
    from powergrid.cli.output import console, print_line, print_unread

    alone = bare_network(source)
    if alone is not None:
        for line in [*network_lines(alone), *_solved_lines(alone)]:
            print_line(line)
        if plot is not None:
            draw(alone, plot)
            print_line(f"\ndrawing: {plot}")
        return
    resolved = powergrid.load_config(source, plugins=plugins)
    if not resolved.unchecked:  # else `make` says why it cannot be shown
        print_unread(source, resolved)
    env = powergrid.make(resolved, backend="numpy")
    if resolved.config.description:
        print_line(" ".join(resolved.config.description.split()) + "\n")
    console().print(hierarchy(resolved, env.world.agents))
    print_line()
    network = env.world.network
    for line in [*network_lines(network), *_static_lines(resolved), *_method_lines(network), *_episode_lines(resolved)]:
        print_line(line)
    if spaces:
        print_line()
        print_line(env.describe())
    if plot is not None:
        draw(env.world.network, plot)
        print_line(f"\ndrawing: {plot}")


def hierarchy(resolved: ResolvedConfig, agents: Sequence[Any]) -> Tree:
    """Agents below their parents; regulators and capacitors of the network are counted, not named."""
    from rich.text import Text
    from rich.tree import Tree

    from powergrid.plugins.registries import PROTOCOLS

    config = resolved.config
    root = Tree(Text(config.name, style="bold"))
    own = {agent.id for agent in config.agents}
    for agent in agents:
        if agent.parent is None and agent.id in own:
            _branch(root, agent)
    implied = [agent for agent in agents if agent.id not in own and agent.parent is None]
    kinds = [f"{type(agent).__name__} of the network, {_moved_by(agent)}" for agent in implied]
    for kind in dict.fromkeys(kinds):
        root.add(Text(f"{kinds.count(kind)} x {kind}", style="dim"))
    for protocol in config.protocols:
        everybody = "all learned agents" if PROTOCOLS.get(protocol.type).kind == "learning" else "all coordinators"
        members = ", ".join(protocol.members) or everybody
        root.add(Text.assemble((protocol.type, "magenta"), f" among {members}"))
    return root


def _moved_by(agent: Any) -> str:
    """What controls a regulator or capacitor that no agent of the configuration controls."""
    if agent.role == "tap" and not agent.settings.local_control:
        return "at the tap that it has there"
    if agent.role == "cap" and agent.settings.control == "fixed":
        return "always connected"
    return "by local control"


def _branch(tree: Tree, agent: Any) -> None:
    from rich.text import Text

    phases = f" {agent.phases}" if getattr(agent, "phases", None) else ""
    place = f" at {agent.bus}{phases}" if getattr(agent, "bus", "") else ""
    area = f" of {agent.area}" if getattr(agent, "area", "") else ""
    protocol = f", protocol {agent.protocol}" if getattr(agent, "protocol", "none") != "none" else ""
    style = "bold green" if agent.policy in ("learned", "centralized") else "bold"
    objective = getattr(agent, "objective", "own")
    sums = "" if objective == "own" else f", objective {objective}"
    label = Text.assemble((agent.id, style), f"  {type(agent).__name__}{area}{place}, {agent.policy}{protocol}{sums}")
    below = tree.add(label)
    for child in agent.subordinates:
        _branch(below, child)


def network_lines(network: Any) -> list[str]:
    """Size, voltages, loads and connections of a network in plain lines."""
    import numpy as np

    three, full = network.is_three_phase, network
    if three:
        from powergrid.studies.one_line import one_line

        network = one_line(network)
    buses, branches = network.buses, network.branches
    kinds = [kind for kind in dict.fromkeys(branches.kind) if kind != "regulator"]
    counted = ", ".join(f"{kind} {branches.kind.count(kind)}" for kind in kinds)
    levels = ", ".join(f"{kv:g}" for kv in sorted({float(kv) for kv in buses.vn_kv}, reverse=True))
    source = buses.name[network.source_bus]
    switchable = int(np.sum(network.shunts.switchable))
    lines = [
        f"network      {network.name}{', every phase' * three}: {len(buses.name)} buses at {levels} kV; {counted}",
        f"source       {network.source_v_pu:g} pu at bus {source}",
        f"loads        {full.loads.p_mw.sum():.3f} MW and {full.loads.q_mvar.sum():.3f} Mvar at their peak",
        f"controls     {len(full.regulators.branch)} regulators, {switchable} capacitors{', one per phase' * three}",
    ]
    static = full.static_generators
    if len(static.name):
        kinds_of = (("generator", "static generator"), ("storage", "storage"))
        numbers = [(static.kind.count(kind), what) for kind, what in kinds_of]
        shown = ", ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in numbers if count)
        lines.append(f"generation   {shown}: {static.p_mw.sum():.3f} MW and {static.q_mvar.sum():.3f} Mvar fed in")
    generators = getattr(network, "generators", None)
    if generators is not None and len(generators.name):
        lines.append(f"generators   {len(generators.name)} that hold a voltage, {generators.p_mw.sum():.3f} MW")
    for k, (name, kind) in enumerate(zip(branches.name, branches.kind, strict=True)):
        if kind == "transformer" and np.isfinite(branches.rating[k]):
            ends = " - ".join(buses.name[bus[k]] for bus in (branches.from_bus, branches.to_bus))
            if three:
                lines.append(f"transformer  {name} ({ends}): {branches.rating[k]:g} MVA")
                continue
            z_percent = 100.0 * np.hypot(branches.r_pu[k], branches.x_pu[k]) * branches.rating[k]
            x_over_r = branches.x_pu[k] / branches.r_pu[k] if branches.r_pu[k] else np.inf
            lines.append(
                f"transformer  {name} ({ends}): {branches.rating[k]:g} MVA, {z_percent:.2f} %, X/R {x_over_r:.1f}"
            )
    return lines


def _method_lines(network: Any) -> list[str]:
    """The method that solves a network, and the reason."""
    from powergrid.powerflow import choose

    choice = choose(network)
    return [f"power flow   {choice.name}: {choice.reason}"]


def _solved_lines(network: Any) -> list[str]:
    """The same, with the network's own power flow."""
    from textwrap import wrap

    return [*_method_lines(network), *wrap(str(network.power_flow()), 100, subsequent_indent=" " * 13)]


def _episode_lines(resolved: ResolvedConfig) -> list[str]:
    """Time and data."""
    simulation, data = resolved.config.simulation, resolved.config.datasets
    hours = simulation.episode_length * simulation.time_step / 3600
    shown = data if isinstance(data, str) else ", ".join(f"{key}: {place.path}" for key, place in data.items())
    return [
        f"episode      {simulation.episode_length} ticks of {simulation.time_step} s ({hours:g} h)",
        f"data         {shown}",
    ]


def _static_lines(resolved: ResolvedConfig) -> list[str]:
    """Series of the generation and storage that belong to the network."""
    from powergrid.config.build_network import static_series
    from powergrid.core.types import CONSTANT_SERIES

    network = resolved.network()
    power: dict[str, float] = {}
    for series, p_mw in zip(
        static_series(resolved.config.network, network), network.static_generators.p_mw.tolist(), strict=True
    ):
        power[series] = power.get(series, 0.0) + p_mw
    hint = " (network.sgen_series gives them another)"
    return [
        f"generation   {p_mw:.3f} MW of the network's own "
        + (f"stay constant{hint}" if series == CONSTANT_SERIES else f"follow {series}")
        for series, p_mw in power.items()
    ]


def draw(network: Any, file: Path) -> None:
    """Draw the network into a file; the file's extension selects the format."""
    try:
        import matplotlib
    except ImportError:
        figure = network.draw().figure  # says which extra is missing
    else:
        matplotlib.use("agg")
        figure = network.draw().figure
    save_figure(figure, file)


def save_figure(figure: Any, file: Path) -> None:
    """Write a figure of matplotlib into a file; the file's extension selects the format."""
    from powergrid.core.errors import PowerGridError
    from powergrid.core.files import write_whole

    ending = file.suffix.lstrip(".") or "png"
    supported = figure.canvas.get_supported_filetypes()
    if ending not in supported:
        raise PowerGridError(f'a drawing cannot be saved as "{ending}"; choose one of {", ".join(sorted(supported))}')
    write_whole(file, lambda stream: figure.savefig(stream, dpi=150, bbox_inches="tight", format=ending))
