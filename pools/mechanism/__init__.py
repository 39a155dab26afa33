"""The formulas of token pools, pure: standard library and numpy, no model, clock, dice, setting or log in sight.

The idea is from W. J. Cunningham, *Token Management in Multi-Tenant AI Inference Platforms*, arXiv 2603.00356
(CC BY 4.0). Where a docstring says "Token Pools design" the formula is ours, made because the paper leaves the point
open.

Read in this order: ``amounts`` (what is counted) → ``capacity`` (what one replica can carry) → ``lease`` (what may be
promised) → ``admission`` and ``retry`` (who gets in, who waits how long) → ``settlement`` (what was really used) →
``debt``, ``ordering``, ``limits`` (who is owed, who comes first, who may use what) → ``tick`` (all of it at once, for
a whole shard; ``tick_reference`` says the same one row at a time) → ``eviction`` and ``scaling`` (what gives way, what
is added). ``paper`` keeps the literal formulas for comparison.
"""
