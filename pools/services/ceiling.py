"""The accelerator ceiling as it stands: what every pool wants, under a lock while somebody takes more.

Fails closed: whoever starts replicas asks here inside the transaction that writes them.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connection
from django.db.models import F, Sum

from pools.mechanism.ceiling import Ceiling
from pools.models import Pool
from portal.lib.errors import DomainError

CEILING_LOCK = 0x746F6B75  # advisory lock: one pool at a time takes more


def ceiling_now() -> Ceiling:
    """Limit and use; use counts what every living pool wants, started or not. One query."""
    taken = F("wanted_replicas") * F("accelerators_per_replica")
    total = Pool.objects.filter(archived_at__isnull=True).aggregate(total=Sum(taken))["total"]
    return Ceiling(int(getattr(settings, "ACCELERATOR_CEILING", 0)), int(total or 0))


def ceiling_lock() -> None:
    """Until the transaction ends nobody else takes accelerators. Nothing to wait for where there is no ceiling."""
    if int(getattr(settings, "ACCELERATOR_CEILING", 0)) > 0:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CEILING_LOCK])


def ceiling_check(name: str, before: int, after: int, field: str) -> None:
    """A pool goes from ``before`` to ``after`` accelerators; call it before the row is written, in its transaction.

    Raises DomainError ``ceiling_reached`` with the numbers, under ``field``.
    """
    ceiling_lock()
    ceiling = ceiling_now()
    if ceiling.refuses(before, after):
        others = ceiling.used - before
        sentence = (
            f"{name} would take {after:,} accelerators beside {others:,} of other pools, but all together may use "
            f"{ceiling.limit:,} (ACCELERATOR_CEILING): {max(0, ceiling.limit - others):,} are left for it."
        )
        raise DomainError("ceiling_reached", sentence, status=409, fields={field: sentence})
