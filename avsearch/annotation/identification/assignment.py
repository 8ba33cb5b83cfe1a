"""The linear assignment problem: rows to columns, one to one, for the largest sum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign(gains: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the column (rows,) of each row of finite (rows, columns) gains, rows <= columns.

    The sum of gains is the largest there is. Shortest augmenting paths over dual variables, row by
    row, in O(rows^2 columns): Jonker and Volgenant, A shortest augmenting path algorithm for dense
    and sparse linear assignment problems, Computing 1987.
    """
    rows, columns = gains.shape
    if rows > columns:
        raise ValueError("an assignment needs a column for every row")
    costs = -np.asarray(gains, np.float64)
    row_prices, column_prices = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1)  # the row of each column
    for row in range(rows):
        _augment(row, costs, row_prices, column_prices, owner)
    found = np.empty(rows, np.int64)
    taken = np.flatnonzero(owner >= 0)
    found[owner[taken]] = taken
    return found


def _augment(
    row: int,
    costs: NDArray[np.float64],
    row_prices: NDArray[np.float64],
    column_prices: NDArray[np.float64],
    owner: NDArray[np.int64],
) -> None:
    """Give ``row`` a column, moving others along the cheapest path to a free one (Dijkstra)."""
    columns = costs.shape[1]
    distance = np.full(columns, np.inf)
    previous = np.full(columns, -1)  # the column from which each is reached, -1: from the row
    done = np.zeros(columns, bool)
    current, last, reached = row, -1, 0.0
    visited = [(row, 0.0)]
    while True:
        through = reached + costs[current] - row_prices[current] - column_prices
        shorter = ~done & (through < distance)
        distance[shorter], previous[shorter] = through[shorter], last
        last = int(np.argmin(np.where(done, np.inf, distance)))
        done[last], reached = True, distance[last]
        if owner[last] < 0:
            break
        current = int(owner[last])
        visited.append((current, reached))
    for other, at in visited:
        row_prices[other] += reached - at
    column_prices[done] -= reached - distance[done]
    while last >= 0:
        before = int(previous[last])
        owner[last] = row if before < 0 else owner[before]
        last = before
