"""History of fairness: measured by the tick on each debt step, in memory; one small row a pool, written by COPY.

Use is the average over the debt window that ends with this tick, holds and demand are the tick's own. When the books
are away these rows are not kept: a gap in a chart is honest, and nothing is posted from them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import orjson
from django.db import Error as DatabaseError
from django.db import IntegrityError, transaction

from pools.mechanism.fairness import fairness, promised, window_use
from pools.mechanism.lending import Lending, Loan, lending, loans
from pools.mechanism.ordering import Floats
from pools.mechanism.tick_types import PATIENCE_S
from pools.services.books import books_away, books_failed
from pools.services.tick_decide import PoolResult
from portal.lib.copying import copy_rows

log = logging.getLogger(__name__)
MOST_NAMED = 12
"""Lenders and borrowers of a rank that are kept by name; the others are summed."""
MOST_PAIRS = 64
TABLE = "pools_fairnesssample"
COLUMNS = "at, pool_id, elapsed_s, active, satisfied, jain, dispersion, lent, free, beyond, loans"
Row = list[Any]


class FairMeasure(NamedTuple):
    """One pool at a debt step: its ``row`` in the order of ``COLUMNS``, and per entitlement what was ``kept`` of a
    promise: [share 0..1] for who asks for something promised, [] for who does not."""

    row: Row
    kept: list[list[float]]


def fairness_store(measures: Sequence[FairMeasure], at: datetime) -> None:
    """Writes one row a pool of a debt step; nothing while the books are away."""
    if books_away():
        return
    try:
        with transaction.atomic():
            copy_rows(TABLE, COLUMNS.split(", "), (one.row for one in measures))
    except IntegrityError:
        log.info("fairness of %s is stored already", at)
    except DatabaseError as error:
        log.warning("fairness of this moment is not kept: the books cannot be written (%s)", type(error).__name__)
        books_failed()


def fairness_measures(results: Sequence[PoolResult], at: datetime) -> Iterator[FairMeasure]:
    """One a pool. Pools decided in one call share their arrays and one accounting."""
    groups: dict[int, tuple[Floats, Floats, Floats, Lending]] = {}
    for one in results:
        if one.group_index not in groups:
            groups[one.group_index] = _accounted(one)
        served, base, windows_s, found = groups[one.group_index]
        yield _measure(one, served, base, float(windows_s[one.pool_index]), found, at)


def _accounted(one: PoolResult) -> tuple[Floats, Floats, Floats, Lending]:
    """(use over the window [E,3], base of the bound [E,3], seconds of the window [P], who lent to whom)."""
    given, columns = one.given, one.given.entitlements
    served, base = window_use(given), promised(given)
    found = lending(served, base, one.result.holds, columns.service_class, columns.pool, given.pools.capacity)
    return served, base, given.state.window_s + given.elapsed_s, found


def _measure(
    one: PoolResult, served: Floats, base: Floats, window_s: float, found: Lending, at: datetime
) -> FairMeasure:
    rows, terms = one.group_rows, one.terms
    turned_away = one.result.state.since_refused_s[rows] <= PATIENCE_S
    seen = fairness(served[rows, 0], base[rows, 0], one.result.demand[rows, 0], turned_away)
    known = (seen.mean_satisfied, seen.jain, seen.dispersion) if seen.active else (None, None, None)
    made = loans(found, rows, terms.ids, terms.service_class, terms.capacity, MOST_NAMED, MOST_PAIRS)
    sums = (values.sum(axis=0).tolist() for values in (found.borrowed[rows], found.free[rows], found.beyond[rows]))
    asks = np.minimum(base[rows, 0], one.result.demand[rows, 0]) > 0
    shares = zip(asks.tolist(), np.round(seen.satisfied, 4).tolist(), strict=True)
    row = [at, terms.pool_id, round(window_s, 3), seen.active, *known, *sums, loans_json(made)]
    return FairMeasure(row, [[share] if asking else [] for asking, share in shares])


def loans_json(made: Sequence[Loan]) -> str:
    """[[lender, borrower, tokens, KV bytes, sequences], …]; amounts that round to nothing are left out."""
    rows = [[loan.lender, loan.borrower, *_rounded(loan.amount)] for loan in made]
    return orjson.dumps([row for row in rows if any(row[2:])]).decode()


def loans_read(text: str | bytes) -> list[Loan]:
    """What :func:`loans_json` wrote."""
    return [Loan(row[0], row[1], (row[2], row[3], row[4])) for row in orjson.loads(text)]


def _rounded(amount: tuple[float, float, float]) -> tuple[float, int, float]:
    return round(amount[0], 3), round(amount[1]), round(amount[2], 4)
