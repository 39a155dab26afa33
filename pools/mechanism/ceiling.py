"""The cluster-wide ceiling of accelerators: what is used, what is left, and a plain no where it would be passed.

It fails closed: a start that would pass it is refused, never tried. Source: Token Pools design, section 8.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_CEILING = 1_000_000


@dataclass(frozen=True, slots=True)
class Ceiling:
    """``limit`` accelerators for all pools together, 0 when there is no ceiling; ``used`` is what every pool wants."""

    limit: int
    used: int

    @property
    def left(self) -> int | None:
        """Accelerators that may still be taken; None without a ceiling."""
        return max(0, self.limit - self.used) if self.limit > 0 else None

    @property
    def share(self) -> float:
        """Used over limit, 0 without a ceiling; above 1 when the limit was lowered below what runs."""
        return self.used / self.limit if self.limit > 0 else 0.0

    def replicas_left(self, accelerators_per_replica: int) -> int:
        """How many more replicas of so many accelerators each may be started."""
        return NO_CEILING if self.left is None else self.left // max(1, accelerators_per_replica)

    def with_change(self, before: int, after: int) -> Ceiling:
        """The same when one pool takes ``after`` accelerators instead of ``before``."""
        return Ceiling(self.limit, self.used - before + after)

    def refuses(self, before: int, after: int) -> bool:
        """Whether a pool may not go from ``before`` to ``after`` accelerators. Taking fewer is always allowed."""
        return self.limit > 0 and after > before and self.used - before + after > self.limit
