"""Rows laid out by numpy come out of PostgreSQL as they went in, refusals included, pools of several groups mixed."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.db import connection

from pools.choices import Refusal
from pools.models import EntitlementSample
from pools.services.sample_rows import ENTITLEMENT_COPY, entitlement_rows

AT = datetime(2026, 11, 24, 9, 30, 5, 250_001, tzinfo=UTC)


def answer(count: int) -> Any:
    """What a tick says about ``count`` entitlements: row n is full of n."""
    column = np.arange(count, dtype=float)
    wide = np.stack([column, 1e12 + column, column], axis=1)
    explain = SimpleNamespace(average=wide, gap=column / 10)
    return SimpleNamespace(
        explain=explain, limit=wide, refill=column, demand=wide, weight=column, debt=-column, burst=column
    )


def pool(pool_id: int, rows: slice, group: int, group_rows: slice, result: Any) -> Any:
    ids = np.arange(rows.start, rows.stop) + 1000
    terms = SimpleNamespace(ids=ids, pool_id=pool_id, tenant_ids=ids * 2, base=np.full((ids.size, 3), 20.0))
    return SimpleNamespace(terms=terms, rows=rows, group_rows=group_rows, group_index=group, result=result)


@pytest.mark.django_db
def test_rows_come_out_as_they_went_in() -> None:
    first, second = answer(3), answer(2)
    results = [
        pool(1, slice(0, 2), 0, slice(0, 2), first),
        pool(2, slice(2, 4), 1, slice(0, 2), second),
        pool(3, slice(4, 5), 0, slice(2, 3), first),
    ]
    refused = np.zeros((5, 13), dtype=np.int64)
    refused[1, Refusal.POOL_FULL], refused[1, Refusal.TOKEN_BUDGET], refused[4, Refusal.POOL_FULL] = 7, 123_456, 1
    raw = entitlement_rows(results, refused, np.arange(5), np.array([5.0, 6.0, 7.0004]), AT)
    with connection.cursor() as cursor, cursor.copy(ENTITLEMENT_COPY) as copy:
        copy.write(raw)
    rows = list(EntitlementSample.objects.order_by("entitlement_id").values())
    assert [row["entitlement_id"] for row in rows] == [1000, 1001, 1002, 1003, 1004]
    assert [row["pool_id"] for row in rows] == [1, 1, 2, 2, 3]
    assert {row["at"] for row in rows} == {AT}
    assert [row["elapsed_s"] for row in rows] == [5, 5, 6, 6, 7]
    assert [row["debt"] for row in rows] == [0, -1, 0, -1, -2]
    assert [row["limit_kv_bytes"] for row in rows] == [10**12 + n for n in (0, 1, 0, 1, 2)]
    assert [row["gap_tokens"] for row in rows] == pytest.approx([0, 10, 0, 12, 0.2 * 20 * 7.0004])
    assert [row["admitted"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["tenant_id"] for row in rows] == [2000, 2002, 2004, 2006, 2008]
    assert rows[1]["refused"] == {Refusal.POOL_FULL.code: 7, Refusal.TOKEN_BUDGET.code: 123_456}
    assert [rows[n]["refused"] for n in (0, 2, 3)] == [{}, {}, {}]
    assert rows[4]["refused"] == {Refusal.POOL_FULL.code: 1}
