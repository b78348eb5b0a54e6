"""``powergrid warmup``: compile ahead of the first use of a preset."""

from __future__ import annotations

from typing import Annotated

import typer


def warmup_command(
    presets: Annotated[
        list[str] | None, typer.Argument(metavar="[PRESET]...", help="Presets or YAML files; all presets by default.")
    ] = None,
) -> None:
    """Compile what presets need, for one environment and for batches, and store it on the disk.

    The first environment on a machine waits for the compiler; later ones load the stored code. Use this command in
    installers, container images and continuous integration. `NUMBA_CACHE_DIR` and `XDG_CACHE_HOME` set the folders of
    the compiled code.

    Examples:

    - `powergrid warmup`

    - `powergrid warmup p2p_microgrids`
    """
    import time

    from powergrid.cli.output import print_line, print_note, print_table
    from powergrid.config import preset_names
    from powergrid.core import progress
    from powergrid.core.machine_code import problem

    if problem():
        print_note(f"{problem()}; nothing was compiled")
        return
    begin = time.monotonic()
    for source in presets or preset_names():
        before, started = len(progress.finished()), time.monotonic()
        backends = _step_once(source)
        made = len(progress.finished()) - before
        took = f"{made} pieces compiled in {time.monotonic() - started:.1f} s" if made else "all compiled before"
        print_line(f"{source}: {took}" + ("" if "fused" in backends else "; it steps on NumPy"))
    pieces = progress.finished()
    if pieces:
        print_table("compiled", ("what", "seconds"), [(what, f"{seconds:.1f}") for what, seconds in pieces])
    print_line(f"{len(pieces)} pieces in {time.monotonic() - begin:.1f} s")


def _step_once(source: str) -> set[str]:
    """Step one environment and a few together; return the backends that ran them."""
    import numpy as np

    import powergrid

    one = powergrid.make(source)
    many = powergrid.make_vec(source, 8)
    one.reset(seed=0)
    many.reset(seed=0)
    shape = (len(one.possible_agents), one.world.layout.action_size)
    one.step_array(np.zeros(shape))
    many.step_array(np.zeros((8, *shape)))
    return {one.backend, many.backend}
