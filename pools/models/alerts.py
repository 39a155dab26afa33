"""AlertRule → Alert → AlertDelivery over an AlertChannel: what is watched, what crossed, who was told, did it land.

Reading keeps what the watch saw, whether a rule looked at it or not: a new rule has a history to be drawn on.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models

from pools.models.pools import Pool
from portal.lib.clock import now

UNSEALED = "whsec_"
"""How a secret begins that is not sealed; the database refuses it."""


class Metric(models.TextChoices):
    """What a rule watches; the unit stands in the label."""

    HEADROOM = "headroom", "Headroom, lowest dimension (% of capacity)"
    REFUSAL_RATE = "refusal_rate", "Refused requests (% of asked)"
    DEBT = "debt", "Largest debt of an entitlement (% of its base)"
    TICK_LAG = "tick_lag", "Tick lag (ms)"
    DRIFT = "drift", "Counter drift (sequences)"
    ENDPOINT_FAILURE = "endpoint_failure", "Failed endpoints of the last five minutes (count)"


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
    """Where messages go. A secret signs webhooks; the one before it signs beside it until ``old_secret_until``, so that
    a receiver can change over. Both lie sealed (``portal.lib.boxes``) and are never shown again."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=16, choices=ChannelKind.choices)
    target = models.CharField(max_length=500)
    sealed_secret = models.CharField(max_length=300, blank=True)
    sealed_old_secret = models.CharField(max_length=300, blank=True)
    old_secret_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(sealed_secret__startswith=UNSEALED)
                & ~models.Q(sealed_old_secret__startswith=UNSEALED),
                name="alertchannel_secrets_sealed",
            )
        ]

    def __str__(self) -> str:
        return self.name


class AlertRule(models.Model):
    """Thresholds on one metric, in one pool or in each. ``thresholds``: [{"level": "warning", "value": 20.0}, …] from
    mild to severe. ``revision`` rises with every change of terms."""

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
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """One crossing of one threshold in one pool; open until the value is back behind it by the hysteresis.

    Without ``opened_at`` it is only about to open: crossed, but not for long enough. ``value`` is the latest, ``worst``
    the farthest beyond the threshold; ``cleared_because`` is empty where the value itself came back.
    """

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="alerts")
    pool = models.ForeignKey(Pool, null=True, on_delete=models.CASCADE, related_name="alerts")
    level = models.CharField(max_length=20)
    threshold = models.FloatField()
    value = models.FloatField()
    worst = models.FloatField()
    sentence = models.CharField(max_length=300)
    since = models.DateTimeField()
    opened_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(help_text="When the crossing was last seen")
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_because = models.CharField(max_length=100, blank=True)

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
    """One message to one channel. ``tries`` lists every attempt: when, status, answer, milliseconds."""

    alert = models.ForeignKey(Alert, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=16, help_text="opened, cleared or test")
    payload = models.JSONField()
    state = models.CharField(max_length=16, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    tries = models.JSONField(default=list)
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
        indexes = [
            models.Index(fields=["state", "next_attempt_at"], name="alertdelivery_due"),
            models.Index(fields=["channel", "-id"], name="alertdelivery_by_channel"),
        ]

    def __str__(self) -> str:
        return f"delivery #{self.pk}"


class Reading(models.Model):
    """Every metric of one pool at one moment, in the order of ``Metric``; unknown ones are empty. By day, by COPY."""

    pk = models.CompositePrimaryKey("at", "pool_id")
    at = models.DateTimeField()
    pool_id = models.BigIntegerField()
    metrics = ArrayField(models.FloatField(null=True))

    class Meta:
        managed = False
        db_table = "pools_reading"
