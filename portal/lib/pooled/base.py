"""The connection of this backend: what others say once when they connect, it says in every transaction."""

from __future__ import annotations

from django.conf import settings
from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Bounds the waiting for locks by ``SET LOCAL``: the pooler lets no such setting through when it connects, and one
    that outlives its transaction would fall to somebody else."""

    def _set_autocommit(self, autocommit: bool) -> None:
        super()._set_autocommit(autocommit)  # type: ignore[misc]
        if not autocommit:
            with self.wrap_database_errors:
                self.connection.execute(f"SET LOCAL lock_timeout = {round(settings.LOCK_TIMEOUT * 1000)}")
