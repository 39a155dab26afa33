"""What is stored of pools: tiers with versions, pools with profiles, endpoints, entitlements, decisions, samples.

::

    Tier ──< TierVersion (immutable)          Pool ──< CapacityProfile (immutable)
      └──────────┐                              ├──< Endpoint (a replica)
    Tenant ──< Entitlement >────────────────────┤──< ScalingDecision
                   └──< EntitlementSample       └──< PoolSample          (samples: partitioned by day)
"""

from pools.models.decisions import ScalingDecision
from pools.models.entitlements import Entitlement
from pools.models.pools import CapacityProfile, Endpoint, Pool
from pools.models.samples import EntitlementSample, PoolSample
from pools.models.tiers import Tier, TierVersion

__all__ = [
    "CapacityProfile",
    "Endpoint",
    "Entitlement",
    "EntitlementSample",
    "Pool",
    "PoolSample",
    "ScalingDecision",
    "Tier",
    "TierVersion",
]
