"""Compiled parts of :mod:`powergrid.markets.ipm_rows`: scaling a clearing, and choosing the rows that count in it."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from powergrid.core.machine_code import part

N_SHARING, N_SMALLEST, N_GAP, N_ERROR, N_USUAL, N_TINY, N_MARGIN, N_LEAST, N_STEP = range(9)
leaf = part(error_model="numpy", nogil=True)
_ADD = {"reassoc", "nsz"}  # sums in the order of vectors: still the same for every clearing
sum_leaf = part(error_model="numpy", nogil=True, fastmath=_ADD)
_BISECTIONS = 40
"""Halvings of the range of prices in which the price of the balance is looked for."""
_BROKEN = 1e-10
"""Excess over a row's bounds, as a share of the power scale, that makes the row count."""
(
    V, T, Z_LOW, Z_HIGH, COST, SHARE, THETA, DUAL, D_V, D_LOW, D_HIGH, R_V, R_T, WEIGHTED, BY_ROW, WIDTH, N_SLOT,
) = range(17)  # fmt: skip
PRIMAL, Y, D_Y, RIGHT, R_LOW, R_WIDTH, R_PENALTY, EXTRA, N_ROW_SLOT = range(9)


@leaf
def scale(cost, low, high, table, row_low, row_high, penalty, numbers, scaled, of_rows, column):
    """Columns that have a width, and every row's lower bound, width and penalty, in scaled units: see ``ipm._scale``.

    Returns
    -------
    power, price, active
        Both scales, and the number of columns that have a width.
    """
    usual, tiny, margin = numbers[N_USUAL], numbers[N_TINY], numbers[N_MARGIN]
    n, r = len(cost), len(row_low)
    power, price = 1e-6, 1.0
    for j in range(n):
        width = max(high[j] - low[j], 0.0)
        scaled[1, j] = width
        power = max(power, width)
        if width > 0.0:
            price = max(price, min(abs(cost[j]), usual))
    for i in range(r):
        reach, shift = _reach(table[i], scaled[1], low)
        lower, upper, far = row_low[i] - shift, row_high[i] - shift, (1.0 + margin) * reach + 1e-3 * power
        upper = max(min(upper, far), max(lower, -far))
        lower = min(max(lower, -far), upper)
        of_rows[0, i], of_rows[1, i], of_rows[2, i] = lower / power, (upper - lower) / power, penalty[i] / price
    active = 0
    for j in range(n):
        width = scaled[1, j] / power
        if width > tiny:
            scaled[0, active], scaled[1, active] = cost[j] / price, width
            scaled[2, active] = numbers[N_SHARING] / width
            column[active] = j
            active += 1
    return power, price, active


@sum_leaf
def _reach(row, width, low):
    reach, shift = 0.0, 0.0
    for j in range(len(row)):
        reach += abs(row[j]) * width[j]
        shift += row[j] * low[j]
    return reach, shift


@leaf
def suspect(state, of_rows, table, column, scaled, work, full):
    """Make rows count that the cheapest columns would break if one equation, the balance, were the only row."""
    equation, found = 0, 0
    for i in range(len(state)):
        if state[i] == 1:
            equation, found = i, found + 1
    if found != 1:
        return
    price, room, v, rest = work[COST], work[WIDTH], work[V], of_rows[0, equation]
    least = most = 0.0
    for a in range(len(column)):
        entry = table[equation, column[a]]
        price[a], room[a] = np.inf, 0.0
        v[a] = 0.0 if scaled[0, a] > 0.0 else scaled[1, a]
        if entry != 0.0:  # from the end of its range where it gives least
            price[a], room[a] = scaled[0, a] / entry, scaled[1, a] * abs(entry)
            v[a] = 0.0 if entry > 0.0 else scaled[1, a]
            least, most = min(least, price[a]), max(most, price[a])
        rest -= entry * v[a]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (least + most)
        if _below(price, room, middle, len(column)) > rest:
            most = middle
        else:
            least = middle
    for dear in range(2):  # whole where it is cheaper than the last price, then what is left at that price
        for a in range(len(column)):
            if room[a] > 0.0 and (price[a] > least) == (dear == 1) and price[a] <= most:
                part = min(max(rest, 0.0), room[a])
                rest -= part
                v[a] += scaled[1, a] * part / room[a] * (1.0 if v[a] == 0.0 else -1.0)
    broken(state, of_rows, table, column, v, full)


@sum_leaf
def _below(price, room, most, size):
    """Room of the columns whose price is at most so much."""
    total = 0.0
    for a in range(size):
        total += room[a] if price[a] <= most else 0.0
    return total


@leaf
def choose(state, of_rows, table, column, numbers, chosen, compact, rows):
    """Rows that count, those with a width first, and their entries in the columns that have one."""
    count = inside = 0
    for equation in range(2):
        for i in range(len(state)):
            if state[i] == 0 or (of_rows[1, i] <= numbers[N_TINY]) != (equation == 1):
                continue
            chosen[count] = i
            rows[R_LOW, count], rows[R_WIDTH, count] = of_rows[0, i], of_rows[1, i]
            rows[R_PENALTY, count] = of_rows[2, i]
            for a in range(len(column)):
                compact[count, a] = table[i, column[a]]
            count += 1
        if equation == 0:
            inside = count
    return inside, count


@leaf
def broken(state, of_rows, table, column, v, full):
    """Make rows count that columns `v` break by more than rounding; whether there are any."""
    found = False
    for a in range(len(column)):
        full[column[a]] = v[a]
    for i in range(len(state)):
        if state[i] == 0:
            total = dot(table[i], full, len(full))
            if total < of_rows[0, i] - _BROKEN or total > of_rows[0, i] + of_rows[1, i] + _BROKEN:
                state[i], found = 1, True
    return found


@sum_leaf
def dot(a, b, size):
    """Sum of the first products of two vectors."""
    total = 0.0
    for j in range(size):
        total += a[j] * b[j]
    return total
