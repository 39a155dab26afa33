"""AlertRule → Alert → AlertDelivery over an AlertChannel: what is watched, what crossed, who was told, did it land."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models

from pools.models.pools import Pool
from portal.lib.clock import now


class Metric(models.TextChoices):
    """What a rule watches; the unit stands in the label."""

    HEADROOM = "headroom", "Headroom, lowest dimension (% of capacity)"
    REFUSAL_RATE = "refusal_rate", "Refused requests (% of asked)"
    DEBT = "debt", "Largest debt of an entitlement (share of its base)"
    TICK_LAG = "tick_lag", "Tick lag (ms)"
    DRIFT = "drift", "Counter drift (requests)"
    ENDPOINT_FAILURE = "endpoint_failure", "Failed endpoints (count)"


class ChannelKind(models.TextChoices):
    """How a message travels."""

    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Signed webhook"


class DeliveryState(models.TextChoices):
    """waiting → delivered, or failed after the last retry."""

    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class AlertChannel(models.Model):
    """Where messages go. ``secret`` signs webhooks and is never shown again."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=16, choices=ChannelKind.choices)
    target = models.CharField(max_length=500)
    secret = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class AlertRule(models.Model):
    """Thresholds on one metric. ``thresholds``: [{"level": "warning", "value": 20.0}, …] from mild to severe."""

    name = models.CharField(max_length=100, unique=True)
    metric = models.CharField(max_length=20, choices=Metric.choices)
    pool = models.ForeignKey(Pool, null=True, blank=True, on_delete=models.CASCADE, related_name="alert_rules")
    below = models.BooleanField(default=False, help_text="Cross downward (headroom) instead of upward")
    thresholds = models.JSONField()
    hysteresis = models.FloatField(default=0.0, validators=[MinValueValidator(0)])
    for_seconds = models.PositiveIntegerField(default=10)
    channels = models.ManyToManyField(AlertChannel, blank=True, related_name="rules")
    enabled = models.BooleanField(default=True)
    muted_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """One crossing of one threshold in one pool; open until the value is back behind it by the hysteresis."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="alerts")
    pool = models.ForeignKey(Pool, null=True, on_delete=models.CASCADE, related_name="alerts")
    level = models.CharField(max_length=20)
    threshold = models.FloatField()
    value = models.FloatField()
    sentence = models.CharField(max_length=300)
    since = models.DateTimeField()
    opened_at = models.DateTimeField(null=True, blank=True)
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "pool", "level"],
                condition=models.Q(cleared_at__isnull=True),
                name="alert_open_once",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return self.sentence


class AlertDelivery(models.Model):
    """One message to one channel, with its attempts."""

    alert = models.ForeignKey(Alert, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=16, help_text="opened, cleared or test")
    payload = models.JSONField()
    state = models.CharField(max_length=16, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "channel", "event"],
                condition=models.Q(alert__isnull=False),
                name="alertdelivery_once",
            )
        ]
        indexes = [models.Index(fields=["state", "next_attempt_at"], name="alertdelivery_due")]

    def __str__(self) -> str:
        return f"delivery #{self.pk}"
