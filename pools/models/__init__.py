"""What is stored of pools: tiers with versions, pools with profiles, endpoints, entitlements, decisions, samples.

::

    Tier ──< TierVersion (immutable)          Pool ──< CapacityProfile (immutable)
      └──────────┐                              ├──< Endpoint (a replica)
    Tenant ──< Entitlement >────────────────────┤──< ScalingDecision
                   └──< EntitlementSample       └──< PoolSample          (samples: partitioned by day,
                                                                              rolled up by minute and hour)
"""

from pools.models.alerts import Alert, AlertChannel, AlertDelivery, AlertRule, Reading
from pools.models.decisions import ScalingDecision
from pools.models.entitlements import Entitlement
from pools.models.fairness import FairnessSample, FairnessSpan
from pools.models.jobs import BulkItem, BulkJob
from pools.models.pools import CapacityProfile, Endpoint, Pool
from pools.models.requests import EntitlementRequest
from pools.models.rolling import RollingRestart
from pools.models.samples import (
    AdviceHour,
    EntitlementHour,
    EntitlementMinute,
    EntitlementSample,
    PoolHour,
    PoolMinute,
    PoolSample,
    RollupMark,
)
from pools.models.saved_views import SavedView
from pools.models.shadow import ShadowMinute, ShadowRun
from pools.models.tiers import Tier, TierDraft, TierVersion

__all__ = [
    "AdviceHour",
    "Alert",
    "AlertChannel",
    "AlertDelivery",
    "AlertRule",
    "BulkItem",
    "BulkJob",
    "CapacityProfile",
    "Endpoint",
    "Entitlement",
    "EntitlementHour",
    "EntitlementMinute",
    "EntitlementRequest",
    "EntitlementSample",
    "FairnessSample",
    "FairnessSpan",
    "Pool",
    "PoolHour",
    "PoolMinute",
    "PoolSample",
    "Reading",
    "RollingRestart",
    "RollupMark",
    "SavedView",
    "ScalingDecision",
    "ShadowMinute",
    "ShadowRun",
    "Tier",
    "TierDraft",
    "TierVersion",
]
