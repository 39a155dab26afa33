"""The overview's tiles and what is tight in a pool, in words. Pure; ``overview.js`` is the twin that follows live."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse

from pools.selectors.overview import PoolRow, Totals
from portal.dashboards import numbers
from portal.dashboards.advice import words
from portal.dashboards.series import DIMENSIONS


@dataclass(frozen=True, slots=True)
class Tile:
    """One number and where it leads; ``mood`` colours it: good, low or none."""

    key: str
    label: str
    url: str
    value: str
    sub: str
    exact: str = ""
    mood: str = ""


def tiles(totals: Totals | None, alerts: int, worst: str) -> list[Tile]:
    """Ready capacity, promised, in use, headroom, refused now, waiting, alerts; "no data" is not zero."""
    pools, made = reverse("pools"), []
    if totals is None:
        names = ("capacity", "promised", "use", "headroom", "refused", "waiting")
        made = [Tile(name, LABELS[name], _url(name, pools), numbers.NONE, "no data") for name in names]
    else:
        made = [Tile(name, LABELS[name], _url(name, pools), *texts) for name, texts in texts_of(totals).items()]
    mood = "none" if alerts else ""
    said = f"{worst or 'open'}, see below" if alerts else "nothing to look at"
    return [*made, Tile("alerts", "Alerts", _url("alerts", "#alerts-title"), str(alerts), said, mood=mood)]


LABELS = {
    "capacity": "Ready capacity",
    "promised": "Promised",
    "use": "In use",
    "headroom": "Headroom",
    "refused": "Refused now",
    "waiting": "Waiting",
}
ROUTES = {"promised": "entitlements", "refused": "timeline", "alerts": "alerts"}


def _url(name: str, otherwise: str) -> str:
    try:
        return reverse(ROUTES.get(name, "pools"))
    except NoReverseMatch:  # a door that this installation does not have
        return otherwise


def texts_of(totals: Totals) -> dict[str, tuple[str, str, str, str]]:
    """(value, what stands below it, the exact number, mood) of each tile with live numbers."""
    capacity, use = totals.capacity, totals.use
    free = min((max(0.0, 1 - u / c) for u, c in zip(use, capacity, strict=True) if c > 0), default=0.0)
    most = max(totals.refused, key=lambda code: totals.refused[code], default="")
    refused = totals.refused_per_minute
    return {
        "capacity": (
            numbers.si(capacity[0], "tok/s"),
            f"{_count(totals.ready, 'replica')}{f' +{totals.pending}' if totals.pending else ''} · "
            f"{numbers.si(capacity[2], 'slots')}",
            numbers.exact(capacity[0], "tok/s"),
            "",
        ),
        "promised": (
            numbers.si(totals.promised[0], "tok/s"),
            f"{_share(totals.promised[0], capacity[0])} of what is ready",
            numbers.exact(totals.promised[0], "tok/s"),
            "none" if totals.promised[0] > capacity[0] else "",
        ),
        "use": (
            numbers.si(use[0], "tok/s"),
            f"{_share(use[0], capacity[0])} · {numbers.of(use[2], capacity[2], 2)}",
            numbers.exact(use[0], "tok/s"),
            "",
        ),
        "headroom": (
            numbers.si(totals.headroom[2], "slots"),
            f"{numbers.si(totals.headroom[0], 'tok/s')} beside use and reserves",
            numbers.exact(totals.headroom[2], "slots"),
            "none" if free < 0.01 else "low" if free < 0.15 else "",
        ),
        "refused": (
            numbers.si(refused, "/min"),
            (f"mostly {words(most)}" if most else "in the last second none") if refused else "nothing is refused",
            numbers.exact(refused, "per minute"),
            "low" if refused else "",
        ),
        "waiting": (
            str(totals.waiting),
            "queued inside endpoints",
            numbers.exact(totals.waiting, "requests"),
            "low" if totals.waiting else "",
        ),
    }


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _share(part: float, whole: float) -> str:
    return numbers.percent(part / whole) if whole > 0 else numbers.NONE


def tight_words(row: PoolRow) -> str:
    """The dimension with the least room: "Concurrency 9 % free"; what is wrong when there is no capacity."""
    free = [
        (max(0.0, 1 - use / capacity), title)
        for use, capacity, (_, title) in zip(row.use, row.capacity, DIMENSIONS, strict=True)
        if capacity > 0
    ]
    if not free:
        return "no replica is ready"
    share, title = min(free, key=lambda item: item[0])
    return f"{title} {numbers.percent(share)} free"
