"""The KV cache as blocks: taken, shared, given back, and kept for reuse until overwritten.

Like vLLM's block pool: free blocks stand in one queue, oldest first; a freed block keeps its content (its key) while it
queues, so a later request with the same beginning may take it back instead of computing it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence


class BlockPool:
    """``total`` blocks; free + used = total at any time."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(total))
        self._holders = [0] * total
        self._key: list[Hashable | None] = [None] * total
        self._by_key: dict[Hashable, int] = {}

    @property
    def free(self) -> int:
        """Blocks nobody holds, cached content or not."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Blocks held by at least one sequence."""
        return self.total - len(self._free)

    @property
    def usage(self) -> float:
        """Share of the blocks in use, 0 to 1."""
        return self.used / self.total

    def is_free(self, block: int) -> bool:
        """True when nobody holds the block."""
        return self._holders[block] == 0

    def take(self, count: int) -> list[int] | None:
        """``count`` fresh blocks, the longest free first, their old content forgotten; None when fewer are free."""
        if count > len(self._free):
            return None
        taken = []
        for _ in range(count):
            block, _none = self._free.popitem(last=False)
            key = self._key[block]
            if key is not None:
                self._key[block] = None
                if self._by_key.get(key) == block:
                    del self._by_key[key]
            self._holders[block] = 1
            taken.append(block)
        return taken

    def find(self, keys: Iterable[Hashable]) -> list[int]:
        """The cached blocks of the longest prefix of ``keys``; nothing is taken."""
        found = []
        for key in keys:
            block = self._by_key.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def share(self, blocks: Sequence[int]) -> None:
        """Hold these cached blocks once more."""
        for block in blocks:
            if self._holders[block] == 0:
                del self._free[block]
            self._holders[block] += 1

    def publish(self, block: int, key: Hashable) -> None:
        """Name the content of a full block so that others can find it. The first block of a name keeps it."""
        if self._key[block] is None and key not in self._by_key:
            self._key[block] = key
            self._by_key[key] = block

    def give_back(self, blocks: Sequence[int]) -> None:
        """Let go of a sequence's blocks; the last is the first to be overwritten, so the beginning lives longest."""
        for block in reversed(blocks):
            if self._holders[block] < 1:
                raise ValueError(f"block {block} is given back but nobody holds it")
            self._holders[block] -= 1
            if self._holders[block] == 0:
                self._free[block] = None
