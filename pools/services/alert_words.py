"""What each metric of an alert is called, in which unit it is written, between which values it lies, what it means."""

from __future__ import annotations

from dataclasses import dataclass

from pools.mechanism.alerting import Level, Terms
from pools.models import AlertRule
from pools.models.alerts import Metric

GAP = "\u00a0"
LEVELS = ("notice", "warning", "critical")
"""From mild to severe; a rule uses some of them."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """``meaning`` is the help text beside the field; ``says`` completes "<pool> …" with the value as text."""

    name: str
    unit: str
    below: bool
    highest: float
    meaning: str
    says: str


INFO: dict[str, MetricInfo] = {
    Metric.HEADROOM: MetricInfo(
        "headroom",
        "%",
        True,
        100,
        "Free beside use and reserves, in the tightest of tokens/s, KV cache and slots. 0 when no replica is ready.",
        "has {} of headroom left",
    ),
    Metric.REFUSAL_RATE: MetricInfo(
        "refused requests",
        "%",
        False,
        100,
        "Refused of all that were asked, over the last minute. 0 when nobody asked.",
        "refuses {} of what is asked",
    ),
    Metric.DEBT: MetricInfo(
        "largest debt",
        "%",
        False,
        100,
        "The largest debt of an elastic entitlement: how far below its baseline it was served, of late.",
        "owes {} of its baseline to one entitlement",
    ),
    Metric.TICK_LAG: MetricInfo(
        "tick lag",
        "ms",
        False,
        3_600_000,
        "How late the tick came. Grows while no tick comes at all; limits then stay as they were.",
        "is ticked {} late",
    ),
    Metric.DRIFT: MetricInfo(
        "counter drift",
        "",
        False,
        1_000_000_000,
        "Sequences that are counted and not there, or there and not counted. Anything above 0 is a fault.",
        "counts {} more or fewer than there are",
    ),
    Metric.ENDPOINT_FAILURE: MetricInfo(
        "failed endpoints",
        "",
        False,
        1_000_000,
        "Endpoints that failed in the last five minutes, and ready ones that no longer answer.",
        "had {} fail in the last five minutes",
    ),
}
COUNTS = {Metric.DRIFT: ("sequence", "sequences"), Metric.ENDPOINT_FAILURE: ("endpoint", "endpoints")}


def value_text(metric: str, value: float | None) -> str:
    """A value as it is written: "4.2 %", "2.3 s", "3 endpoints"; "no data" when unknown."""
    if value is None:
        return "no data"
    if metric == Metric.TICK_LAG:
        return f"{_digits(value)}{GAP}ms" if value < 1000 else f"{_digits(value / 1000)}{GAP}s"
    if metric in COUNTS:
        one, many = COUNTS[Metric(metric)]
        return f"{value:,.0f}{GAP}{one if round(value) == 1 else many}"
    return f"{_digits(value)}{GAP}%"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.5 else f"{float(f'{value:.2g}'):g}" if abs(value) >= 0.05 else "0"


def terms_of(rule: AlertRule) -> Terms:
    """A rule's terms as the mechanism reads them."""
    levels = tuple(Level(str(item["level"]), float(item["value"])) for item in rule.thresholds)
    return Terms(levels, rule.below, rule.hysteresis, rule.for_seconds)


def threshold_text(metric: str, below: bool, value: float) -> str:
    """ "at or below 5 %"."""
    return f"at or {'below' if below else 'above'} {value_text(metric, value)}"


def rule_text(rule: AlertRule) -> str:
    """A rule in words: "headroom at or below 20 % (warning), 5 % (critical) for 60 s"."""
    parts = [f"{value_text(rule.metric, level.value)} ({level.name})" for level in terms_of(rule).levels]
    wait = f" for {rule.for_seconds} s" if rule.for_seconds else ""
    return f"{INFO[rule.metric].name} at or {'below' if rule.below else 'above'} {', '.join(parts)}{wait}"


def alert_sentence(metric: str, pool: str, value: float | None, level: Level, detail: str = "") -> str:
    """What happened, in one sentence: pool, value, detail (which dimension, whom), level and its threshold."""
    happened = INFO[metric].says.format(value_text(metric, value))
    more = f" ({detail})" if detail else ""
    return f"{pool} {happened}{more}: {level.name} from {value_text(metric, level.value)}."[:300]


def cleared_sentence(metric: str, pool: str, value: float | None, level: str, because: str) -> str:
    """That it is over."""
    if because:
        return f"{pool}: the {level} about {INFO[metric].name} was closed: {because}."[:300]
    return f"{pool} is back: {INFO[metric].name} {value_text(metric, value)}, no longer {level}."[:300]


def severity(level: str) -> int:
    """Rank of a level, severe ones larger; unknown names count as warnings."""
    return LEVELS.index(level) if level in LEVELS else 1
