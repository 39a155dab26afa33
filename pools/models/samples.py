"""What the tick saw, kept as history: partitioned by day, written by COPY, never updated.

Both tables are made by the migration in SQL (``managed = False``), because Django knows no partitions.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class EntitlementSample(models.Model):
    """One entitlement at one debt tick. ``refused`` is JSON {reason code: count since the last sample}."""

    pk = models.CompositePrimaryKey("at", "entitlement_id")
    at = models.DateTimeField()
    entitlement_id = models.BigIntegerField()
    pool_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField()
    elapsed_s = models.FloatField()
    use_tokens_per_second = models.FloatField()
    use_kv_bytes = models.BigIntegerField()
    use_concurrency = models.FloatField()
    limit_tokens_per_second = models.FloatField()
    limit_kv_bytes = models.BigIntegerField()
    limit_concurrency = models.IntegerField()
    demand_tokens_per_second = models.FloatField()
    weight = models.FloatField()
    debt = models.FloatField()
    burst = models.FloatField()
    gap_tokens = models.FloatField(help_text="Tokens served below (+) or above (-) the promise in this tick")
    admitted = models.IntegerField()
    refused = models.JSONField(default=dict)

    class Meta:
        managed = False
        db_table = "pools_entitlementsample"


class PoolSample(models.Model):
    """One pool at one debt tick. Arrays are (tokens/s, KV bytes, sequences)."""

    pk = models.CompositePrimaryKey("at", "pool_id")
    at = models.DateTimeField()
    pool_id = models.BigIntegerField()
    capacity = ArrayField(models.FloatField())
    promised = ArrayField(models.FloatField())
    use = ArrayField(models.FloatField())
    hold = ArrayField(models.FloatField())
    ready = models.IntegerField()
    pending = models.IntegerField()
    wanted = models.IntegerField()
    contended = models.BooleanField()
    lag_ms = models.IntegerField()
    refused = models.JSONField(default=dict)

    class Meta:
        managed = False
        db_table = "pools_poolsample"
