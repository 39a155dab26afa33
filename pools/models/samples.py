"""What the tick saw, kept as history: partitioned by time, written by COPY, never updated; and its roll-ups.

    sample    one row every five seconds, some days
    minute    one row a minute, some weeks
    hour      one row an hour, more than a year

Columns mean the same in all three, so that a reader only changes the table: amounts are averages over the span, counts
are sums, levels (capacity, promises, replicas) are what they were last. The tables are made by migrations in SQL
(``managed = False``), because Django knows no partitions.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class EntitlementSpan(models.Model):
    """One entitlement over one span. ``refused`` is JSON {reason code: count in the span}."""

    pk = models.CompositePrimaryKey("at", "entitlement_id")
    at = models.DateTimeField()
    entitlement_id = models.BigIntegerField()
    pool_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField()
    elapsed_s = models.FloatField()
    use_tokens_per_second = models.FloatField()
    use_concurrency = models.FloatField()
    limit_tokens_per_second = models.FloatField()
    demand_tokens_per_second = models.FloatField()
    weight = models.FloatField()
    debt = models.FloatField()
    burst = models.FloatField()
    gap_tokens = models.FloatField(help_text="Tokens served below (+) or above (-) the promise in this span")
    refused = models.JSONField(default=dict)

    class Meta:
        abstract = True


class EntitlementSample(EntitlementSpan):
    """One entitlement at one debt tick."""

    use_kv_bytes = models.BigIntegerField()
    limit_kv_bytes = models.BigIntegerField()
    limit_concurrency = models.IntegerField()
    admitted = models.IntegerField()

    class Meta:
        managed = False
        db_table = "pools_entitlementsample"


class EntitlementRollup(EntitlementSpan):
    """The same, averaged."""

    use_kv_bytes = models.FloatField()
    limit_kv_bytes = models.FloatField()
    limit_concurrency = models.FloatField()
    admitted = models.BigIntegerField()

    class Meta:
        abstract = True


class EntitlementMinute(EntitlementRollup):
    """One entitlement in one minute."""

    class Meta:
        managed = False
        db_table = "pools_entitlementminute"


class EntitlementHour(EntitlementRollup):
    """One entitlement in one hour."""

    class Meta:
        managed = False
        db_table = "pools_entitlementhour"


class PoolSpan(models.Model):
    """One pool over one span. Arrays are (tokens/s, KV bytes, sequences). ``needed`` is how many replicas the scaling
    rules wanted at most before their windows, None while metrics were unknown."""

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
    needed = models.IntegerField(null=True)
    contended = models.BooleanField()
    lag_ms = models.IntegerField()
    refused = models.JSONField(default=dict)

    class Meta:
        abstract = True


class PoolSample(PoolSpan):
    """One pool at one debt tick."""

    class Meta:
        managed = False
        db_table = "pools_poolsample"


class PoolRollup(PoolSpan):
    """The same over a longer span. ``ready_least`` is the fewest replicas that were ready in it, ``headroom`` what was
    free beside use and reserves at the tightest moment, ``contended`` whether it was so at any time."""

    ready_least = models.IntegerField()
    headroom = ArrayField(models.FloatField())

    class Meta:
        abstract = True


class PoolMinute(PoolRollup):
    """One pool in one minute."""

    class Meta:
        managed = False
        db_table = "pools_poolminute"


class PoolHour(PoolRollup):
    """One pool in one hour."""

    class Meta:
        managed = False
        db_table = "pools_poolhour"


class RollupMark(models.Model):
    """How far a roll-up came: rows before ``until`` are rolled up. A late sample sets it back."""

    level = models.CharField(max_length=16, primary_key=True)
    until = models.DateTimeField()


class AdviceHour(models.Model):
    """How good the scaling advice of one pool was in one hour, in minutes (``pools.mechanism.hit_rate``).

    ``right``, ``few`` and ``many`` judge the advice, ``ran_*`` what was really ready. Minutes that could not be judged
    are in none of them.
    """

    pool = models.ForeignKey("Pool", on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    right = models.PositiveSmallIntegerField()
    few = models.PositiveSmallIntegerField()
    many = models.PositiveSmallIntegerField()
    ran_right = models.PositiveSmallIntegerField()
    ran_few = models.PositiveSmallIntegerField()
    ran_many = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pool", "at"], name="advicehour_once")]
        indexes = [models.Index(fields=["at"], name="advicehour_by_time")]
