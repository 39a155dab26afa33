"""Every write of pools, one function a deed: ``<noun>_<verb>``. A refused deed raised DomainError and wrote nothing.

::

    tenants keys tiers pools entitlements      deeds of people; each writes its audit record in the same transaction
    publishing documents configuring routes tier_spread
                                               what the books say, published to the gateways and the counters
    binding endpoints scaling tick             reconcilers: safe at any time, any number of times; run by pools.tasks
    tick_terms tick_memory samples live        parts of the tick: what it reads, keeps, stores and shows
"""
