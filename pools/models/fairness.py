"""How fairly each pool served its promises, and who borrowed whose idle reserve: history of ``pools.mechanism``.

    FairnessSample   one row a pool and debt tick (about 5 s), partitioned by day
    FairnessSpan     the same over five minutes or an hour, partitioned by month

``satisfied``, ``jain`` and ``dispersion`` are empty while nobody asked for what was promised: no data is not fairness.
``loans`` is a list of [lender id, borrower id, tokens, KV bytes, sequences], see ``pools.mechanism.lending``: levels in
a sample, levels x seconds in a span. The tables are made by the migration in SQL, because Django knows no partitions.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class FairnessMoment(models.Model):
    """Arrays are (tokens/s, KV bytes, sequences): what was lent out of idle reserves, taken of unpromised capacity, and
    used beyond both."""

    at = models.DateTimeField()
    pool_id = models.BigIntegerField()
    elapsed_s = models.FloatField()
    active = models.FloatField(help_text="Entitlements that asked for something promised")
    satisfied = models.FloatField(null=True)
    jain = models.FloatField(null=True)
    dispersion = models.FloatField(null=True)
    lent = ArrayField(models.FloatField())
    free = ArrayField(models.FloatField())
    beyond = ArrayField(models.FloatField())
    loans = models.JSONField(default=list)

    class Meta:
        abstract = True


class FairnessSample(FairnessMoment):
    """One pool at one debt tick."""

    pk = models.CompositePrimaryKey("at", "pool_id")

    class Meta:
        managed = False
        db_table = "pools_fairnesssample"


class FairnessSpan(FairnessMoment):
    """One pool over ``span_s`` seconds from ``at``: averages by time, and the lowest satisfied share in it."""

    pk = models.CompositePrimaryKey("span_s", "at", "pool_id")
    span_s = models.IntegerField()
    satisfied_least = models.FloatField(null=True)

    class Meta:
        managed = False
        db_table = "pools_fairnessspan"
