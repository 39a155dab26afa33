"""Tier: an operator-made product on one service class. TierVersion: its terms, immutable once written."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from pools.choices import FailMode, ServiceClass
from portal.lib.clock import now


class VersionStatus(models.TextChoices):
    """draft: not in force. shadow: evaluated and counted, not enforced. published: in force from ``effective_from``."""

    DRAFT = "draft", "Draft"
    SHADOW = "shadow", "Shadow"
    PUBLISHED = "published", "Published"


def multiplier() -> models.DecimalField[Decimal, Decimal]:
    """A burst cap as a multiple of the base, 1 or more."""
    return models.DecimalField(
        max_digits=6, decimal_places=3, default=Decimal(1), validators=[MinValueValidator(Decimal(1))]
    )


class Tier(models.Model):
    """A named product; what it means is its current version. ``shadow`` is evaluated beside it and never enforced;
    ``spread`` is the version that every pool's counters have by now."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    service_class = models.CharField(max_length=16, choices=[(c.value, c.value.capitalize()) for c in ServiceClass])
    current = models.ForeignKey("TierVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    shadow = models.ForeignKey("TierVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    spread = models.ForeignKey("TierVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name


class TierVersion(models.Model):
    """The terms of a tier. A change is a new version; the database refuses to alter or delete one."""

    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=16, choices=VersionStatus.choices, default=VersionStatus.PUBLISHED)
    class_weight = models.FloatField(validators=[MinValueValidator(0.001), MaxValueValidator(1e6)])
    burst_tokens = multiplier()
    burst_kv = multiplier()
    burst_concurrency = multiplier()
    lendable_share = models.FloatField(default=0.0, validators=[MinValueValidator(0), MaxValueValidator(1)])
    slo_ms = models.PositiveIntegerField(default=1000, validators=[MinValueValidator(1)])
    default_max_tokens = models.PositiveIntegerField(default=256, validators=[MinValueValidator(1)])
    largest_max_tokens = models.PositiveIntegerField(default=4096, validators=[MinValueValidator(1)])
    hold_ms = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(250)])
    fail_mode = models.CharField(
        max_length=8, choices=[(m.value, m.value.capitalize()) for m in FailMode], default=FailMode.CLOSED.value
    )
    price_input_micro = models.BigIntegerField(default=0, help_text="Micro-units of money per million input tokens")
    price_output_micro = models.BigIntegerField(default=0, help_text="Micro-units of money per million output tokens")
    effective_from = models.DateTimeField(default=now)
    effective_until = models.DateTimeField(null=True, blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    author_label = models.CharField(max_length=254, default="system")
    reason = models.TextField(blank=True)
    reverts = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["tier", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["tier", "number"], name="tierversion_number_once"),
            models.CheckConstraint(
                condition=models.Q(default_max_tokens__lte=models.F("largest_max_tokens")),
                name="tierversion_max_tokens_order",
            ),
            models.CheckConstraint(
                condition=models.Q(lendable_share__gte=0) & models.Q(lendable_share__lte=1),
                name="tierversion_lendable_share",
            ),
            models.CheckConstraint(condition=models.Q(class_weight__gt=0), name="tierversion_weight_positive"),
        ]

    def __str__(self) -> str:
        return f"v{self.number}"


class TierDraft(models.Model):
    """Terms one person is working on: nothing typed is lost, and a second editor sees what the first one published.
    ``before`` is what the last deed on it replaced; ``revision`` names that deed to an undo."""

    tier = models.ForeignKey(Tier, on_delete=models.CASCADE, related_name="drafts")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    based_on = models.ForeignKey(TierVersion, null=True, on_delete=models.PROTECT, related_name="+")
    terms = models.JSONField()
    reason = models.TextField(blank=True)
    updated_at = models.DateTimeField(default=now)
    gone = models.BooleanField(
        default=False, help_text="Thrown away; kept until the next draft so that it can come back"
    )
    before = models.JSONField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-updated_at"]
        constraints = [models.UniqueConstraint(fields=["tier", "author"], name="tierdraft_once_per_author")]

    def __str__(self) -> str:
        return f"draft #{self.pk}"
