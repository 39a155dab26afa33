"""What happened to a pool, from every book that knows: decisions, changes, versions, alerts; newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zlib import crc32

from django.db.models import CharField, F, Q, QuerySet
from django.db.models.functions import Cast
from django.urls import reverse

from pools.choices import EntitlementState
from pools.models import Alert, Endpoint, Entitlement, Pool, ScalingDecision, Tier, TierVersion
from pools.models.tiers import VersionStatus
from portal.audit.diff import Change, changes
from portal.audit.models import AuditRecord
from portal.dashboards.advice import words

KINDS = (
    ("scaling", "Scaling decisions"),
    ("tier", "Tiers"),
    ("entitlement", "Entitlements"),
    ("pool", "Pool"),
    ("endpoint", "Endpoints"),
    ("alert", "Alerts"),
)
MOST = 200
"""Events of one answer; of each book at most so many are read."""
FEW_CHANGES = 3
NOTHING = "nothing"


class Event(NamedTuple):
    """One thing that happened. ``url`` is its page; ``who`` did it, "" for the machinery; ``level`` where a marker
    stands on an axis of its own (the chosen replicas), None elsewhere."""

    at: datetime
    kind: str
    title: str
    text: str
    who: str
    url: str
    level: float | None = None

    @property
    def key(self) -> str:
        """The same thing has the same key in every answer: its moment, its kind and its words."""
        words_sum = crc32(f"{self.title} {self.url}".encode())
        return f"{self.kind}-{int(self.at.timestamp() * 1000)}-{words_sum:08x}"


def kinds_of(names: Sequence[str]) -> list[str]:
    """The known kinds among the names in the address, in their order; all of them when there is none."""
    known = [key for key, _ in KINDS]
    return [key for key in known if key in names] or known


def events(pool: Pool, kinds: Sequence[str], since: datetime) -> tuple[list[Event], bool]:
    """(the newest events of these kinds since a moment, whether there are more). At most seven queries."""
    found: list[Event] = []
    if "scaling" in kinds:
        found += _decisions(pool, since)
    if "alert" in kinds:
        found += _alerts(pool, since)
    found += _changes(pool, [kind for kind in ("tier", "entitlement", "pool", "endpoint") if kind in kinds], since)
    found.sort(key=lambda event: (event.at, event.kind, event.title), reverse=True)
    return found[:MOST], len(found) > MOST


def _decisions(pool: Pool, since: datetime) -> list[Event]:
    rows = ScalingDecision.objects.filter(pool=pool, at__gte=since).exclude(before=F("chosen")).order_by("-at")
    url = f"{reverse('scaling')}?pool={pool.slug}"
    return [
        Event(
            row.at,
            "scaling",
            f"{row.before} → {row.chosen} replicas{'' if row.applied else ' (advice only)'}",
            row.reason,
            "",
            url,
            float(row.chosen),
        )
        for row in rows[: MOST + 1]
    ]


def _alerts(pool: Pool, since: datetime) -> list[Event]:
    rows = Alert.objects.filter(Q(pool=pool) | Q(pool__isnull=True), opened_at__isnull=False)
    rows = rows.filter(Q(opened_at__gte=since) | Q(cleared_at__gte=since)).select_related("rule").order_by("-pk")
    found = []
    for row in rows[: MOST + 1]:
        url = reverse("alert", args=[row.pk])
        if row.opened_at is not None and row.opened_at >= since:
            found.append(Event(row.opened_at, "alert", f"{row.level}: {row.rule.name}", row.sentence, "", url))
        if row.cleared_at is not None and row.cleared_at >= since:
            found.append(Event(row.cleared_at, "alert", f"over: {row.rule.name}", row.sentence, "", url))
    return found


def _changes(pool: Pool, kinds: Sequence[str], since: datetime) -> list[Event]:
    """Recorded changes of the pool, of what is in it and of the tiers its entitlements live under."""
    if not kinds:
        return []
    living = Entitlement.objects.filter(pool=pool)
    tiers = Tier.objects.filter(
        pk__in=living.exclude(state=EntitlementState.EXPIRED).order_by().values("tier_id").distinct()
    )
    parts = {
        "pool": Q(object_type="pools.pool", object_id=str(pool.pk)),
        "entitlement": Q(object_type="pools.entitlement", object_id__in=_texts(living)),
        "endpoint": Q(object_type="pools.endpoint", object_id__in=_texts(Endpoint.objects.filter(pool=pool))),
        "tier": Q(object_type="pools.tier", object_id__in=_texts(tiers)),
    }
    wanted = Q()
    for kind in kinds:
        wanted |= parts[kind]
    rows = list(AuditRecord.objects.filter(wanted, at__gte=since).order_by("-at", "-id")[: MOST + 1])
    found = [_recorded(row) for row in rows]
    return found + (_versions(tiers, rows, since) if "tier" in kinds else [])


def _texts(rows: QuerySet[Any]) -> QuerySet[Any, Any]:
    """Their ids as the audit trail writes them."""
    texts: QuerySet[Any, Any] = rows.order_by().annotate(id_text=Cast("pk", CharField())).values("id_text")
    return texts


def _recorded(row: AuditRecord) -> Event:
    kind = row.object_type.rpartition(".")[2]
    verb = words(row.verb.removeprefix(f"{kind}_"))
    return Event(
        row.at,
        kind,
        f"{row.object_label} {verb}".strip(),
        changed(changes(row.before, row.after), row.reason),
        row.actor_label,
        reverse("audit-record", args=[row.pk]),
    )


def changed(found: Sequence[Change], reason: str) -> str:
    """A change in one line: the first few fields, how many more, and the reason given."""
    real = [one for one in found if not _same(one)]
    fields = [
        f"{words(one.path)} {one.after if one.kind == 'added' else f'{one.before} → {one.after or NOTHING}'}"
        for one in real[:FEW_CHANGES]
    ]
    more = f" and {len(real) - FEW_CHANGES} more" if len(real) > FEW_CHANGES else ""
    text = ", ".join(field[:80] for field in fields) + more
    return " · ".join(part for part in (text, reason) if part)


def _same(one: Change) -> bool:
    """A number written in another way (2.000, 2.0)."""
    try:
        return float(one.before.replace(",", "")) == float(one.after.replace(",", ""))
    except ValueError:
        return False


def _versions(tiers: QuerySet[Tier], recorded: Sequence[AuditRecord], since: datetime) -> list[Event]:
    """Versions that came into force without a record of their own (a plan whose time came, an imported history)."""
    told = {(row.object_id, row.after.get("version")) for row in recorded if row.object_type == "pools.tier"}
    rows = TierVersion.objects.filter(tier__in=tiers, status=VersionStatus.PUBLISHED, effective_from__gte=since)
    return [
        Event(
            row.effective_from,
            "tier",
            f"{row.tier.name} version {row.number}",
            row.reason or "In force from this moment.",
            row.author_label,
            reverse("tier", args=[row.tier.slug]),
        )
        for row in rows.select_related("tier").order_by("-effective_from")[: MOST + 1]
        if (str(row.tier_id), row.number) not in told
    ]
