"""How much of everything a seeded world holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """``crowd``: entitlements of the fullest pool, a whole number of windows for every tenant. ``busiest``: those of
    the tenant that has the most. ``ended``: share that has expired. ``shown``: pools with a fine history, the crowd's
    among them; the others have a coarse one."""

    name: str
    tenants: int
    pools: int
    entitlements: int
    crowd: int
    busiest: int
    shown: int
    usage_tenants: int
    ended: float = 0.03

    @property
    def windows(self) -> int:
        """Windows one after the other that each tenant has in the fullest pool."""
        return self.crowd // self.tenants


SIZES = {
    size.name: size
    for size in (
        Size("small", 12, 8, 70, 24, 7, 2, 4),
        Size("medium", 100, 40, 5_000, 400, 40, 6, 50),
        Size("large", 500, 200, 50_000, 2_000, 200, 10, 250),
    )
}
