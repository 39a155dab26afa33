"""From a live state and loans to what the fairness page shows. Pure: no query, no clock, no template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pools.mechanism.fairness import Fairness, promised, tick_fairness
from pools.mechanism.lending import BEYOND, OTHERS, UNPROMISED, Loan
from pools.mechanism.tick import tick
from pools.mechanism.tick_record import TickRecord
from pools.selectors.overview import OWED
from portal.dashboards import numbers
from portal.dashboards.live_state import LiveRow, LiveState
from portal.dashboards.series import debt_words

SORTS = ("debt", "satisfied", "share", "name")
HEAT_STEPS = 5
SPECIAL = {UNPROMISED: "Unpromised capacity", BEYOND: "Beyond both", OTHERS: "All others"}


class Measured(NamedTuple):
    """Fairness of a pool, and the satisfied share of each entitlement that asks for something promised."""

    fairness: Fairness
    satisfied: dict[int, float]


def measured(record: TickRecord | None) -> Measured | None:
    """What the latest debt step measured; None without a record of one."""
    if record is None:
        return None
    given, result = record.given, tick(record.given)
    found = tick_fairness(given, result, slice(0, record.ids.size))
    asks = np.minimum(promised(given)[:, 0], result.demand[:, 0]) > 0
    return Measured(found, dict(zip(record.ids[asks].tolist(), found.satisfied[asks].tolist(), strict=True)))


@dataclass(frozen=True, slots=True)
class FairRow:
    """One entitlement: signed debt, satisfied share, its share of the pool beside its share of the promise. Bars run
    from 0 to 100; ``debt_from`` and ``debt_width`` around the middle."""

    entitlement_id: int
    live: LiveRow
    debt: str
    debt_from: float
    debt_width: float
    owed: bool
    satisfied: str
    satisfied_percent: float
    share: str
    share_percent: float
    promised: str
    promised_percent: float


def fair_rows(state: LiveState, dimension: int, seen: Measured | None) -> list[FairRow]:
    """Every row of the pool in one dimension; the debt's bar is scaled to the largest debt, 10 % at least."""
    satisfied = seen.satisfied if seen is not None else {}
    whole = state.capacity[dimension]
    largest, widest = scales(state, dimension)
    shares = {row.entitlement_id: _share(row.use[dimension], whole) for row in state.rows.values()}
    promises = {row.entitlement_id: _share(row.base[dimension], whole) for row in state.rows.values()}
    found = []
    for key, row in state.rows.items():
        width = 50.0 * min(1.0, abs(row.debt) / largest)
        kept = satisfied.get(key)
        found.append(
            FairRow(
                entitlement_id=key,
                live=row,
                debt=debt_words(row.debt),
                debt_from=50.0 if row.debt >= 0 else 50.0 - width,
                debt_width=width,
                owed=row.debt > 0,
                satisfied=numbers.percent(kept),
                satisfied_percent=100.0 * (kept or 0.0),
                share=_percent(shares[key]),
                share_percent=100.0 * shares[key] / widest,
                promised=_percent(promises[key]),
                promised_percent=100.0 * promises[key] / widest,
            )
        )
    return found


def scales(state: LiveState, dimension: int) -> tuple[float, float]:
    """What bars are drawn to: (the largest debt either way, the widest share of the pool, used or promised)."""
    whole = state.capacity[dimension]
    shares = (_share(max(row.use[dimension], row.base[dimension]), whole) for row in state.rows.values())
    return max([0.1, *(abs(row.debt) for row in state.rows.values())]), max([1e-9, *shares])


def with_fairness(document: dict[str, Any], seen: Measured | None) -> dict[str, Any]:
    """A live message with a measure where its own tick made none. Its lent amounts are not known then."""
    pool, rows = document["pool"], document["rows"]
    if pool.get("fair") or seen is None:
        return document
    one, most = seen.fairness, max(rows, key=lambda row: float(row[7]), default=None)
    known = (one.mean_satisfied, one.jain, one.dispersion) if one.active else (None, None, None)
    fair: dict[str, Any] = dict(zip(("satisfied", "jain", "dispersion"), known, strict=True))
    owed = sum(1 for row in rows if row[7] > OWED)
    fair |= {"active": one.active, "owed": owed, "most": [most[0], most[7]] if most is not None else None}
    kept = [[seen.satisfied[row[0]]] if row[0] in seen.satisfied else [] for row in rows]
    filled = [[*row[:14], share] for row, share in zip(rows, kept, strict=True)]
    return {**document, "pool": {**pool, "fair": fair}, "rows": filled}


def _percent(share: float) -> str:
    """Percent in whole numbers; below one in two digits, so that two small shares can be told apart."""
    return f"{100 * share:.2g}{numbers.GAP}%" if 0.0001 <= share < 0.01 else numbers.percent(share)


def _share(part: float, whole: float) -> float:
    return max(0.0, part / whole) if whole > 0 else 0.0


def ordered(rows: Sequence[FairRow], sort: str, names: Mapping[int, str]) -> list[FairRow]:
    """Largest debt first, least satisfied first, largest share first, or by name; names break ties."""
    keys: dict[str, Callable[[FairRow], float]] = {
        "debt": lambda row: -abs(row.live.debt),
        "satisfied": lambda row: row.satisfied_percent if row.satisfied != numbers.NONE else 200.0,
        "share": lambda row: -row.share_percent,
        "name": lambda row: 0.0,
    }
    key = keys.get(sort, keys["debt"])
    return sorted(rows, key=lambda row: (key(row), names.get(row.entitlement_id, ""), row.entitlement_id))


class MatrixCell(NamedTuple):
    """One amount; ``heat`` 0..5 shades it, the number says it."""

    text: str
    exact: str
    heat: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Lenders × borrowers; the last cell of each row and the last row are sums. Ids name entitlements, or one of
    ``SPECIAL``."""

    lenders: list[int]
    borrowers: list[int]
    cells: list[list[MatrixCell]]
    row_sums: list[str]
    column_sums: list[str]
    total: str

    @property
    def rows(self) -> list[tuple[int, list[MatrixCell], str]]:
        """(lender, cells, sum) for the template."""
        return list(zip(self.lenders, self.cells, self.row_sums, strict=True))


def matrix_of(made: Sequence[Loan], dimension: int, most_lenders: int, most_borrowers: int) -> Matrix:
    """The matrix of one dimension: the largest lenders and borrowers by name, the rest as others."""
    sums: dict[tuple[int, int], float] = {}
    for loan in made:
        if loan.amount[dimension] > 0:
            sums[loan.lender, loan.borrower] = sums.get((loan.lender, loan.borrower), 0.0) + loan.amount[dimension]
    lenders, borrowers = _largest(sums, 0, most_lenders), _largest(sums, 1, most_borrowers)
    folded: dict[tuple[int, int], float] = {}
    for (lender, borrower), amount in sums.items():
        key = (lender if lender in lenders else OTHERS, borrower if borrower in borrowers else OTHERS)
        folded[key] = folded.get(key, 0.0) + amount
    rows = [*(one for one in lenders if one > 0), *(one for one in SPECIAL_ORDER if any(k[0] == one for k in folded))]
    columns = [*(one for one in borrowers if one > 0), *((OTHERS,) if any(k[1] == OTHERS for k in folded) else ())]
    top = max(folded.values(), default=0.0)

    def text(amount: float) -> str:
        return numbers.amount(amount, dimension) if amount > 0 else ""

    cells = [[_cell(folded.get((row, column), 0.0), top, dimension) for column in columns] for row in rows]
    return Matrix(
        rows,
        columns,
        cells,
        [text(sum(folded.get((row, column), 0.0) for column in columns)) for row in rows],
        [text(sum(folded.get((row, column), 0.0) for row in rows)) for column in columns],
        text(sum(folded.values())),
    )


SPECIAL_ORDER = (OTHERS, UNPROMISED, BEYOND)


def _largest(sums: Mapping[tuple[int, int], float], side: int, most: int) -> list[int]:
    total: dict[int, float] = {}
    for pair, amount in sums.items():
        total[pair[side]] = total.get(pair[side], 0.0) + amount
    named = sorted((one for one in total if one > 0), key=lambda one: (-total[one], one))
    return [*named[:most], *(one for one in total if one in (UNPROMISED, BEYOND))]


def _cell(amount: float, top: float, dimension: int) -> MatrixCell:
    if amount <= 0:
        return MatrixCell("", "", 0)
    unit = numbers.DIMENSION_UNITS[dimension]
    heat = min(HEAT_STEPS, 1 + int(HEAT_STEPS * amount / top * 0.999))
    return MatrixCell(numbers.amount(amount, dimension), numbers.exact(round(amount, 3), unit), heat)


def fairness_sentence(state: LiveState | None, names: Mapping[int, str], seen: Measured | None) -> str:
    """What the page is opened for: are promises kept alike, and who is owed most?"""
    if state is None:
        return "No live data: the tick has not written a state of this pool in the last minute."
    owed = max(state.rows.values(), key=lambda row: row.debt, default=None)
    if seen is None:
        kept = "How promises are kept is measured with the next tick"
    elif not seen.fairness.active:
        kept = "Nobody with a promise asks for anything right now"
    else:
        kept = f"Promises that are asked for are kept to {numbers.percent(seen.fairness.mean_satisfied)}"
        kept += ", alike for all" if seen.fairness.jain > 0.98 else f", unevenly (Jain index {seen.fairness.jain:.2f})"
    if owed is not None and owed.debt > 0.005:
        return f"{kept}; {names.get(owed.entitlement_id, 'one tenant')} is owed most: {numbers.percent(owed.debt)}."
    return f"{kept}; nobody is owed anything."
