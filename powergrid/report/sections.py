"""The sections with plots and tables, each with a caption that explains it."""

from __future__ import annotations

import numpy as np

from powergrid.core.statistics import INTERVAL, mean_interval
from powergrid.report import markup
from powergrid.report.findings import gap, money_table, rival, saving, training_levels
from powergrid.report.plots import comparison, dispatch, feeder, learning, trade, voltage
from powergrid.report.records import DayRecord
from powergrid.report.run import Played, Run
from powergrid.report.style import Picture, policy_phrase, readable

ACCOUNTS_A_PICTURE = 3
ACCOUNTS_SHOWN = 6
"""Largest number of accounts in the plots of a day."""
FEW_DAYS = 10
"""Number of days below which the interval is unreliable."""

MEANING = {
    "fuel": "fuel of generators",
    "start": "starts of generators",
    "grid": "energy bought from the utility minus energy sold to it",
    "p2p": "energy bought from peers minus energy sold to them",
    "wear": "ageing of batteries, by energy moved",
    "tap": "tap changes of regulators",
    "switching": "switching of capacitors",
    "settlement": (
        "stored energy at its refill price, the cost of putting it back in the cheapest of the next 24 hours: charged "
        "when it leaves a battery, credited when it enters; and the restart of generators"
    ),
}
"""Meaning of the names in the money ledger, in the order of the table."""

Section = tuple[str, list[Picture]]
"""HTML of a section, and its plots for ``plots/``."""


def policies(run: Run) -> Section:
    """Comparison of all policies on the same days."""
    picture, main = comparison.draw(run), policy_phrase(run.main.name)
    words = (
        "The cost of a day is the money that the learning agents pay (fuel, wear, energy) plus the priced violations "
        "(voltage outside its band, overload, energy not served). Lower is better; a negative cost is a profit. All "
        "policies run on the same days with the same forecast errors. One is called cheaper only if the 95 % interval "
        "excludes zero."
    )
    if len(run.days) < FEW_DAYS:
        words += f" There are only {len(run.days)} days, too few for reliable intervals."
    if run.bound is None:
        words += " The lower bound, below which no policy can cost, was not computed for these days."
    bound = "" if run.bound is None else " The diamond is the lower bound, the mean over the same days."
    caption = (
        f"Left: the mean cost of a day (dot) and the {INTERVAL} (bar).{bound} Days differ, so these bars are wide and "
        f"may overlap. Right, the comparison that matters: the saving of {main} on the same day, with the same load, "
        "solar power, wind and prices. Each small dot is a day, the large dot is their mean, and the bar is the "
        f"interval of the mean. To the right of the line {main} is cheaper."
    )
    return markup.section(
        "Comparison of policies", markup.paragraph(words), markup.figure(picture, caption), _policy_table(run)
    ), [picture]


def _policy_table(run: Run) -> str:
    headers = ["policy", "mean [$/day]", "95 % interval", "median [$/day]", "of it settled", "of it violations"]
    headers += ["ticks violated per day"]
    rows = [_cost_row(run, policy) for policy in run.policies]
    if run.bound is not None:
        rows.append([*_mean_row("lower bound", run.bound), "", "", ""])
    compared, names = [_compared_row(run, policy) for policy in run.policies], ["policy"]
    names += [f"{readable(run.main.name)} saves [$/day]", "95 % interval", "cheaper policy"]
    if run.bound is not None:
        names += ["above the lower bound [$/day]", "95 % interval"]
    compares = len(run.policies) > 1 or run.bound is not None
    return markup.table(headers, rows) + (markup.table(names, compared) if compares else "")


def _mean_row(name: str, cost: np.ndarray) -> list[str]:
    mean, low, high = mean_interval(cost)
    return [name, markup.dollars(mean), markup.interval(low, high), markup.dollars(float(np.median(cost)))]


def _cost_row(run: Run, policy: Played) -> list[str]:
    settled = "" if policy.record is None else markup.dollars(_settled(run, policy.record))
    violations = markup.dollars(float(policy.violations.mean()))
    row = [*_mean_row(readable(policy.name), policy.objective), settled, violations]
    return [*row, f"{policy.violated_ticks.mean():.2f}"]


def _compared_row(run: Run, policy: Played) -> list[str]:
    """Saving of the main policy relative to each other policy, and cost of the others above the bound."""
    row, above = [readable(policy.name)], gap(run, policy)
    if policy is run.main:
        row += ["", "", ""]
    else:
        saved = saving(run, policy)
        winner = {1: readable(run.main.name), -1: readable(policy.name), 0: "not certain"}[saved.verdict]
        between = markup.interval(saved.low, saved.high, sign=True)
        row += [markup.dollars(saved.mean, sign=True), between, winner]
    return row + ([] if above is None else [markup.dollars(above.mean), markup.interval(above.low, above.high)])


def _settled(run: Run, record: DayRecord) -> float:
    """Mean settlement of stored energy of all learning agents [$/day]."""
    acting = len(run.world.layout.actors)
    settled = record.money[:, :, :acting, record.names.money == "settlement"]
    return float(settled.sum((1, 2, 3)).mean() * run.per_day)


def curve(run: Run) -> Section:
    """The learning curve of a training."""
    levels = training_levels(run)
    picture = learning.draw(run, levels)
    if picture is None:
        return "", []
    lines = "Dashed: the cost of other policies on the same training days. " if levels else ""
    caption = (
        "Thin: the mean cost of the episodes that ended in one update; it varies because each update uses other "
        f"days. Thick: its running mean. {lines}During training the agents explore, which increases the cost. The "
        "comparison above is without exploration, on days that training did not use."
    )
    return markup.section("Learning", markup.figure(picture, caption)), [picture]


def one_day(run: Run) -> Section:
    """Dispatch on the typical day, under the main policy and, folded, under the compared policy."""
    if run.main.record is None:
        return "", []
    date, cost = run.date(run.typical), markup.dollars(float(run.main.objective[run.typical]))
    words = (
        f"{date}: its cost under {policy_phrase(run.main.name)}, {cost} $, is the median of the {len(run.days)} days."
    )
    pictures = _day_pictures(run.main.record.day(run.typical), run.main.name, date)
    shown = markup.figure(pictures[0], _how_to_read(run.main.record))
    shown += "".join(markup.figure(picture, "The same for further accounts.") for picture in pictures[1:])
    other = rival(run)
    if other is not None and other.record is not None:
        drawn = _day_pictures(other.record.day(run.typical), other.name, date)
        cost = markup.dollars(float(other.objective[run.typical]))
        caption = f"The same load, solar power, wind and utility prices under {policy_phrase(other.name)}: {cost} $."
        figures = "".join(markup.figure(picture, caption) for picture in drawn)
        shown += markup.more(f"The same day under {policy_phrase(other.name)}", figures)
        pictures += drawn
    return markup.section("A typical day", markup.paragraph(words), shown), pictures


_TOP = (
    "Top: the coloured areas above zero are the sources of power. The areas below zero are its uses besides the load, "
    "which is the black line. Power above that line goes into the uses below zero. Dark blue is the exchange with the "
    "utility: bought above zero, sold below. "
)
_PEERS = "Pink is the trade with peers in the same way, and the pink dots are its price. "
_BELOW = (
    "Middle: state of charge of the battery. Bottom: the upper line is the price of energy from the utility, the lower "
    "line the price of energy sold to it. Hours are in the local standard time of the data."
)


def _how_to_read(record: DayRecord) -> str:
    return _TOP + (_PEERS if np.isfinite(record.p2p_bought_mwh).any() else "") + _BELOW


def _day_pictures(record: DayRecord, policy: str, date: str) -> list[Picture]:
    accounts = record.names.accounts[:ACCOUNTS_SHOWN].tolist()
    groups = [accounts[i : i + ACCOUNTS_A_PICTURE] for i in range(0, len(accounts), ACCOUNTS_A_PICTURE)]
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in policy)
    return [
        dispatch.draw(
            record, group, f"dispatch_{safe}" + (f"_{number}" if number else ""), f"{date}, {readable(policy)}"
        )
        for number, group in enumerate(groups)
    ]


def trading(run: Run) -> Section:
    """Trade over the day in a peer-to-peer market."""
    record = run.main.record
    picture = trade.draw(record) if record is not None else None
    if picture is None:
        return "", []
    rows = [
        [readable(policy.name), f"{trade.trading_percent(played):.1f} %", f"{_traded_mwh(played) * run.per_day:.2f}"]
        for policy, played in run.recorded
    ]
    caption = (
        f"Under {policy_phrase(run.main.name)}, mean of all {len(run.days)} days. One member buys what another "
        "sells, so both halves have the same height. Members trade if one has surplus power while another would buy at "
        "the retail price, and if their limit prices match."
    )
    table = markup.table(["policy", "ticks with trade", "energy traded [MWh/day]"], rows)
    return markup.section("Trade between peers", markup.figure(picture, caption), table), [picture]


def _traded_mwh(record: DayRecord) -> float:
    return float(np.maximum(np.nan_to_num(record.p2p_bought_mwh), 0.0).sum((1, 2)).mean())


def voltages(run: Run) -> Section:
    """Voltages over the day, the share outside the band, and the feeder at its worst moment."""
    record = run.main.record
    if record is None:
        return "", []
    low, high = run.world.layout.settings.v_min_pu, run.world.layout.settings.v_max_pu
    band = voltage.draw(record, run.typical, low, high, run.date(run.typical))
    caption = (
        f"Voltage of all {record.v_pu.shape[2]} buses under {policy_phrase(run.main.name)}; 1.00 pu is the nominal "
        f"voltage. Orange: outside the limits of {low:g} and {high:g} pu, where every bus has a cost. Left: the day "
        "above. Right: all days together; the dark band contains nine tenths of the values, the pale band all of them."
    )
    rows = [
        [
            readable(policy.name),
            f"{voltage.outside_percent(played, low, high):.3f} %",
            f"{played.v_pu.min():.4f}",
            f"{played.v_pu.max():.4f}",
            f"{int((~played.converged & played.alive).sum())}",
        ]
        for policy, played in run.recorded
    ]
    headers = ["policy", "bus-ticks outside the band", "lowest [pu]", "highest [pu]", "ticks without a solution"]
    drawing, worst = _worst_moment(run, record)
    return markup.section(
        "Voltage", markup.figure(band, caption), markup.table(headers, rows), markup.figure(drawing, worst)
    ), [band, drawing]


def _worst_moment(run: Run, record: DayRecord) -> tuple[Picture, str]:
    settings = run.world.layout.settings
    moment = feeder.worst(record, settings.v_min_pu, settings.v_max_pu)
    minutes = round(60.0 * moment.tick * settings.dt_h)
    when = f"{run.date(moment.row)}, {minutes // 60 % 24:02d}:{minutes % 60:02d}"
    v_pu, bus = record.v_pu[moment], record.names.buses[moment.bus]
    caption = (
        f"The worst moment under {policy_phrase(run.main.name)}, {when}: the circled bus {bus} has {v_pu:.4f} pu. "
        "Dots are buses, coloured by voltage: pale yellow is nominal, red is high, blue is low. Lines are coloured by "
        "loading: grey is no load, red is full load. Power fed in raises the voltage along its path, load lowers it, "
        "and regulators and capacitors counteract both. Marks on the voltage scale are the limits, "
        f"{settings.v_min_pu:g} and {settings.v_max_pu:g} pu. The drawing is a diagram, not a map."
    )
    limits = settings.v_min_pu, settings.v_max_pu
    return feeder.draw(run.world.network, record, moment, when, limits), caption


def money(run: Run) -> Section:
    """Costs by account and name."""
    if run.main.record is None:
        return "", []
    words = (
        f"Mean cost of a day under {policy_phrase(run.main.name)} [$/day]. Positive is paid, negative is "
        "received. Violations are priced and are no payments; those of the utility's feeder are shared equally."
    )
    used = set(money_table(run, run.main.record).names)
    meanings = markup.facts((readable(name), text) for name, text in MEANING.items() if name in used)
    folded = "".join(
        markup.more(f"The same under {policy_phrase(policy.name)}", _money(run, record))
        for policy, record in run.recorded
        if policy is not run.main
    )
    return markup.section("Money", markup.paragraph(words), _money(run, run.main.record), meanings, folded), []


def _money(run: Run, record: DayRecord) -> str:
    book = money_table(run, record)
    rank = list(MEANING)
    order = sorted(
        range(len(book.names)), key=lambda i: rank.index(book.names[i]) if book.names[i] in rank else len(rank)
    )
    total = book.money.sum(1)
    cells = np.column_stack([book.money[:, order], total, book.violations, total + book.violations])
    rows = [
        [readable(account), *map(markup.dollars, row)]
        for account, row in zip((*book.accounts, "all"), np.vstack([cells, cells.sum(0)]), strict=True)
    ]
    names = (readable(book.names[i]) for i in order)
    return markup.table(["", *names, "money", "violations", "together"], rows, last_is_sum=True)
