"""UsageEvent: one settled request, stored exactly once. UsageMinute and UsageHour: its sums.

The tables are made by the migration in SQL (``managed = False``): they are partitioned by time from the first day.
"""

from __future__ import annotations

from django.db import models


class UsageEvent(models.Model):
    """One settlement. ``event_id`` is pool id and stream entry id: an event delivered twice is stored once."""

    pk = models.CompositePrimaryKey("settled_at", "event_id")
    settled_at = models.DateTimeField()
    event_id = models.CharField(max_length=64)
    request_id = models.CharField(max_length=128)
    pool_id = models.BigIntegerField()
    entitlement_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField()
    key_id = models.BigIntegerField(null=True)
    endpoint_id = models.BigIntegerField(null=True)
    capacity_version = models.IntegerField()
    outcome = models.CharField(max_length=16)
    source = models.CharField(max_length=16)
    reserved_tokens = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    spilled_tokens = models.BigIntegerField()
    overrun_tokens = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    prompt_bytes = models.BigIntegerField()
    kv_bytes = models.BigIntegerField()
    concurrency = models.IntegerField()
    started_at = models.DateTimeField()
    ttft_ms = models.IntegerField(null=True)
    duration_ms = models.IntegerField()

    class Meta:
        managed = False
        db_table = "billing_usageevent"


class Rollup(models.Model):
    """Sums of usage events of one key of one entitlement over one span of time."""

    pk = models.CompositePrimaryKey("at", "entitlement_id", "key_id")
    at = models.DateTimeField()
    entitlement_id = models.BigIntegerField()
    key_id = models.BigIntegerField(help_text="0 when no key is known")
    pool_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField()
    requests = models.BigIntegerField()
    failed = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    overrun_tokens = models.BigIntegerField()
    ttft_ms_sum = models.BigIntegerField()
    ttft_count = models.BigIntegerField()
    duration_ms_sum = models.BigIntegerField()

    class Meta:
        abstract = True


class UsageMinute(Rollup):
    """Per minute."""

    class Meta:
        managed = False
        db_table = "billing_usageminute"


class UsageHour(Rollup):
    """Per hour."""

    class Meta:
        managed = False
        db_table = "billing_usagehour"
