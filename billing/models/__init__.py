"""What is stored of usage and debt.

::

    UsageEvent (partitioned by day) ──► UsageMinute ──► UsageHour   sums move with their events, in one transaction
    Account ──< Entry >── Transfer                                 append-only, every transfer sums to zero
"""

from billing.models.ledger import Account, Entry, Transfer
from billing.models.usage import UsageEvent, UsageHour, UsageMinute

__all__ = ["Account", "Entry", "Transfer", "UsageEvent", "UsageHour", "UsageMinute"]
