"""Forms of alerts: a rule with a threshold for each level, a channel, a mute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms

from pools.models import AlertChannel, AlertRule, Pool
from pools.models.alerts import ChannelKind, Metric
from pools.services.alert_rules import RuleInput
from pools.services.alert_words import INFO, LEVELS

MUTES = (
    ("15m", "15 minutes", 15),
    ("1h", "1 hour", 60),
    ("4h", "4 hours", 240),
    ("24h", "24 hours", 1440),
    ("7d", "7 days", 10_080),
)
LEVEL_HINTS = {"notice": "Good to know.", "warning": "Somebody should look.", "critical": "Somebody should act."}


def _number(label: str, hint: str) -> forms.FloatField:
    widget = forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"})
    return forms.FloatField(label=label, help_text=hint, required=False, widget=widget)


class RuleForm(forms.Form):
    """Terms of a rule; names of fields are those the service's own sentences point at."""

    name = forms.CharField(label="Name", max_length=100, help_text="What the message begins with.")
    metric = forms.ChoiceField(label="Watch", choices=Metric.choices)
    pool = forms.ChoiceField(label="Where", required=False, help_text="Each pool is watched by itself.")
    notice = _number("Notice", LEVEL_HINTS["notice"])
    warning = _number("Warning", LEVEL_HINTS["warning"])
    critical = _number("Critical", LEVEL_HINTS["critical"])
    hysteresis = forms.FloatField(
        label="Hysteresis",
        required=False,
        min_value=0,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        help_text="How far behind the threshold the value must be again before the alert clears. Same unit.",
    )
    for_seconds = forms.IntegerField(
        label="Must last", required=False, min_value=0, help_text="Seconds it must be crossed without a break."
    )
    channels = forms.MultipleChoiceField(
        label="Tell",
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
        help_text="Nobody chosen: it is seen on this page only.",
    )
    enabled = forms.BooleanField(label="Watch at once", required=False, initial=True)
    reason = forms.CharField(label="Reason", max_length=500, required=False, help_text="Kept in the audit trail.")
    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        pools = Pool.objects.filter(archived_at__isnull=True).order_by("slug").values_list("slug", "name")[:1000]
        where: Any = self.fields["pool"]
        where.choices = [("", "Every pool"), *((slug, slug) for slug, _ in pools)]
        to: Any = self.fields["channels"]
        to.choices = [(str(pk), name) for pk, name in AlertChannel.objects.values_list("pk", "name")[:200]]

    def given(self) -> RuleInput:
        """What the service gets. Call it on a valid form."""
        data = self.cleaned_data
        pool = Pool.objects.filter(slug=data["pool"]).first() if data["pool"] else None
        return RuleInput(
            name=data["name"],
            metric=data["metric"],
            thresholds=[(level, data[level]) for level in LEVELS if data.get(level) is not None],
            pool=pool,
            hysteresis=data["hysteresis"] or 0.0,
            for_seconds=data["for_seconds"] or 0,
            channels=list(AlertChannel.objects.filter(pk__in=data["channels"])),
            enabled=data["enabled"],
        )

    def take_errors(self, fields: dict[str, str]) -> None:
        """The service's sentences beside their fields; that about thresholds beside the first level that was filled."""
        for name, sentence in fields.items():
            if name == "thresholds":
                filled = next((level for level in LEVELS if self.data.get(level)), "warning")
                self.add_error(filled, sentence)
            else:
                self.add_error(name if name in self.fields else None, sentence)

    @property
    def unit(self) -> str:
        """The unit of the metric chosen now."""
        chosen = self["metric"].value() or Metric.HEADROOM
        return INFO[chosen].unit if chosen in INFO else ""


def initial_of(rule: AlertRule) -> dict[str, Any]:
    """The form's values of a stored rule."""
    return {
        "name": rule.name,
        "metric": rule.metric,
        "pool": rule.pool.slug if rule.pool else "",
        **{item["level"]: f"{item['value']:g}" for item in rule.thresholds},
        "hysteresis": f"{rule.hysteresis:g}",
        "for_seconds": rule.for_seconds,
        "channels": [str(pk) for pk in rule.channels.values_list("pk", flat=True)],
        "enabled": rule.enabled,
        "revision": rule.revision,
    }


class ChannelForm(forms.Form):
    """A channel; its kind stays what it was."""

    name = forms.CharField(label="Name", max_length=100, help_text="What rules call it.")
    kind = forms.ChoiceField(label="Kind", choices=ChannelKind.choices)
    target = forms.CharField(
        label="Address",
        max_length=500,
        help_text="E-mail addresses with commas between them, or the https:// address that takes the webhook.",
    )
    reason = forms.CharField(label="Reason", max_length=500, required=False, help_text="Kept in the audit trail.")

    def __init__(self, *args: Any, channel: AlertChannel | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if channel is not None:
            del self.fields["kind"]


def mute_until(given: dict[str, Any], now: datetime) -> datetime | None:
    """When a mute ends: one of the usual spans, or a moment in UTC; None for anything else."""
    minutes = next((minutes for key, _, minutes in MUTES if key == given.get("span")), None)
    if minutes is not None:
        return now + timedelta(minutes=minutes)
    try:
        found = datetime.fromisoformat(str(given.get("until", "")).strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
