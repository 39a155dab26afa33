"""What the tick shows: the live message of a pool, with one sentence that says how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson

from pools.choices import EntitlementState, Refusal
from pools.mechanism.amounts import DIMENSIONS
from pools.mechanism.ordering import ClassCode, Floats
from pools.selectors.live import LiveMessage, LivePool, Row
from pools.selectors.overview import OWED
from pools.services.samples import promised_of
from portal.lib.hot import hot

if TYPE_CHECKING:
    from pools.services.fairness import FairMeasure
    from pools.services.tick_decide import PoolResult
    from pools.services.tick_memory import Change, Seen

STATES = tuple(state.value for state in EntitlementState)
NEARLY = 0.97


@dataclass(frozen=True, slots=True)
class Board:
    """A pool's replicas and its last scaling decision, in the hot store so that the tick need not ask the books.
    ``needed`` is what the rules want before their windows; None while metrics are unknown."""

    ready: int = 0
    pending: int = 0
    draining: int = 0
    wanted: int = 0
    need: float = 0.0
    needed: int | None = None
    reason: str = ""
    waiting: int = 0


def board_key(pool_id: int) -> str:
    """Where a pool's board is kept."""
    return f"tp:board:{pool_id}"


def boards(pool_ids: Sequence[int]) -> list[Board]:
    """The boards of the pools; an unknown one is empty."""
    found = cast(list[bytes | None], hot().mget([board_key(pool_id) for pool_id in pool_ids]))
    names = {item.name for item in fields(Board)}
    return [
        Board(**{name: value for name, value in orjson.loads(text).items() if name in names}) if text else Board()
        for text in found
    ]


def board_write(pool_id: int, **changes: Any) -> Board:
    """Changes parts of a pool's board."""
    (board,) = boards([pool_id])
    fresh = Board(**{**asdict(board), **changes})
    if fresh != board:
        hot().set(board_key(pool_id), orjson.dumps(asdict(fresh)))
    return fresh


def live_of(
    one: PoolResult, seen: Seen, moved: Change, board: Board, lag_ms: int, fair: FairMeasure | None = None
) -> LiveMessage:
    """The pool's live message; ``fair`` is what a debt step measured."""
    terms, result, place = one.terms, one.result, one.pool_index
    elapsed_s = float(moved.elapsed_s[_at(seen, terms.pool_id)])
    refused = moved.refused[one.rows]
    contended = bool(seen.contended[_at(seen, terms.pool_id)])
    use, limit = _use_and_limit(one, seen)
    by_reason = {
        Refusal(code).code: int(count)
        for code, count in enumerate(refused.sum(axis=0))
        if count and code in list(Refusal)
    }
    pool = LivePool(
        id=terms.pool_id,
        slug=terms.slug,
        capacity=terms.capacity.tolist(),
        promised=promised_of(one),
        use=np.round(result.use[place], 2).tolist(),
        hold=np.round(result.hold[place], 2).tolist(),
        headroom=np.round(result.pool_headroom[place], 2).tolist(),
        contended=contended,
        **asdict(board),
        lag_ms=lag_ms,
        refused=by_reason,
        sentence=sentence_of(one, board, contended),
        admitted_total=int(seen.admitted[one.rows].sum()),
        refused_total=int(seen.refused[one.rows].sum()),
        below=terms.ids[(limit < use).any(axis=1)].tolist(),
        fair=_fair(one, fair) if fair is not None else None,
    )
    at_ms = int(seen.at_ms[_at(seen, terms.pool_id)])
    kept = fair.kept if fair is not None else [[]] * terms.ids.size
    return LiveMessage(at_ms, pool, _rows(one, use, limit, refused, elapsed_s, kept))


def _at(seen: Seen, pool_id: int) -> int:
    return int(np.flatnonzero(seen.pool_ids == pool_id)[0])


def _use_and_limit(one: PoolResult, seen: Seen) -> tuple[Floats, Floats]:
    """[E,3] each, as they are shown: tokens/s on average, bytes and sequences right now; what is assured."""
    use = seen.in_flight[one.rows].copy()
    use[:, 0] = one.result.explain.average[one.group_rows, 0]
    return np.round(use, 2), np.round(one.result.assured[one.group_rows], 2)


def _fair(one: PoolResult, fair: FairMeasure) -> dict[str, Any]:
    """The pool's part of a measure: who is owed something, and most of all."""
    _, _, _, active, satisfied, jain, dispersion, lent, free, beyond, _ = fair.row
    debt = one.result.debt[one.group_rows]
    most = int(debt.argmax()) if debt.size else None
    return {
        "active": active,
        "satisfied": satisfied,
        "jain": jain,
        "dispersion": dispersion,
        "lent": lent,
        "free": free,
        "beyond": beyond,
        "owed": int((debt > OWED).sum()),
        "most": [int(one.terms.ids[most]), round(float(debt[most]), 4)] if most is not None else None,
    }


def _rows(
    one: PoolResult, use: Floats, limit: Floats, refused: Floats, elapsed_s: float, kept: list[list[float]]
) -> list[Row]:
    terms, result, rows = one.terms, one.result, one.group_rows
    columns = (
        terms.ids.tolist(),
        terms.tenant_ids.tolist(),
        use.tolist(),
        limit.tolist(),
        terms.cap.tolist(),
        terms.base.tolist(),
        np.round(result.weight[rows], 3).tolist(),
        np.round(result.debt[rows], 4).tolist(),
        np.round(result.burst[rows], 4).tolist(),
        np.round(refused.sum(axis=1) * 60.0 / elapsed_s, 1).tolist(),
        binding(refused, use, limit),
        [STATES[state] for state in terms.state.tolist()],
        np.round(result.headroom[rows], 2).tolist(),
        np.round(result.demand[rows], 2).tolist(),
        kept,
    )
    return [list(row) for row in zip(*columns, strict=True)]


def binding(refused: Floats, use: Floats, limit: Floats) -> list[str]:
    """What binds each row: the most frequent refusal of this second, else the dimension whose limit is reached, else
    nothing. ``refused`` [E,13], ``use`` and ``limit`` [E,3]."""
    share = np.divide(use, limit, out=np.zeros_like(use), where=limit > 0)
    reasons, fullest = refused.argmax(axis=1).tolist(), share.argmax(axis=1).tolist()
    some: list[bool] = np.asarray(refused.any(axis=1)).tolist()
    most: list[bool] = (share.max(axis=1, initial=0.0) >= NEARLY).tolist()
    return [
        Refusal(reason).code if any_refused else str(DIMENSIONS[dimension]) if reached else ""
        for reason, dimension, any_refused, reached in zip(reasons, fullest, some, most, strict=True)
    ]


def sentence_of(one: PoolResult, board: Board, contended: bool) -> str:
    """How the pool stands, in one sentence made of at most three parts."""
    terms, result = one.terms, one.result
    if not board.ready and not terms.capacity.any():
        started = f"{board.pending} {_are('replica', board.pending)} starting" if board.pending else "none is starting"
        return f"No replica is ready; {started}."
    free = int(result.pool_headroom[one.pool_index, 2])
    parts = [f"Room for {free} more {'request' if free == 1 else 'requests'} beside every reserve" if free else "Full"]
    elastic = terms.service_class == ClassCode.ELASTIC
    limit = result.limit[one.group_rows][:, 0]
    if contended and elastic.any() and (limit[elastic] < terms.base[elastic, 0] - 1e-6).any():
        parts.append("elastic is being shrunk")
    elif contended:
        parts.append("limits apply")
    if board.pending:
        parts.append(f"{board.pending} {_are('replica', board.pending)} starting")
    elif board.draining:
        parts.append(f"{board.draining} {_are('replica', board.draining)} draining")
    return "; ".join(parts) + "."


def _are(noun: str, count: int) -> str:
    return f"{noun} is" if count == 1 else f"{noun}s are"
