"""The last section: the file behind each number, and the checks made while the page was written."""

from __future__ import annotations

from powergrid.report import markup
from powergrid.report.findings import days_below_bound, largest_imbalance
from powergrid.report.run import Run
from powergrid.report.style import readable

REPLAY_TOLERANCE = 1e-3
"""Money of a tick [$] by which a replay may differ from what was recorded in float32."""

FILES = {
    "evaluation.json": "cost, violations and violated ticks of each policy and day, for the result and the comparison",
    "trajectories": "actions of each policy and day, replayed for powers, voltages, trades and money by name",
    "metrics.jsonl": "the learning curve",
    "meta.json": "training, its days, and versions",
    "config.yaml": "the system with its network and data",
}


def section(run: Run) -> str:
    """Files and checks."""
    present = [(name, text) for name, text in FILES.items() if (run.folder / name).exists()]
    present.append(("plots", "the plots of this page as PNG files"))
    checks = "".join(markup.paragraph(text) for text in (*_replays(run), *_balances(run)))
    return markup.section("Sources of the numbers", markup.facts(present), checks)


def _replays(run: Run) -> list[str]:
    texts = []
    equal = [policy for policy, _ in run.recorded if policy.replay_error <= REPLAY_TOLERANCE]
    if equal:
        names = ", ".join(readable(policy.name) for policy in equal)
        error = max(policy.replay_error for policy in equal)
        texts.append(
            f"Replaying the recorded actions ({names}) gives the recorded money, within {_small(error)} $ per tick."
        )
    for policy, _ in run.recorded:
        if policy.replay_error > REPLAY_TOLERANCE:
            texts.append(
                f"Warning: replaying the actions of {readable(policy.name)} gives money that differs from the "
                f"record by up to {policy.replay_error:.2g} $ in a tick. Software or data have changed "
                "since; evaluate the run again."
            )
    missing = [readable(policy.name) for policy in run.policies if policy.record is None]
    if missing:
        texts.append(f"Policies without trajectories, for which only the cost is shown: {', '.join(missing)}.")
    return texts


def _balances(run: Run) -> list[str]:
    texts = []
    if run.recorded:
        imbalance = max(largest_imbalance(record) for _, record in run.recorded)
        texts.append(f"Payments between accounts and utility sum to zero in every tick, within {_small(imbalance)} $.")
    if run.bound is not None:
        below = days_below_bound(run)
        texts.append(
            f"Warning: in {below} cases a day costs less than the lower bound: the bound or the ledger is wrong."
            if below
            else "No policy costs less than the lower bound on any day."
        )
    return texts


def _small(value: float) -> str:
    return f"{max(value, 1e-12):.0e}"
