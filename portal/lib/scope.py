"""Read as one tenant: the database itself hides every other tenant's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from portal.lib.law import TENANT_ROLE, TENANT_SETTING


@contextmanager
def tenant_scope(tenant_id: int) -> Iterator[None]:
    """Within the block, queries run as the tenant role: only this tenant's rows are seen and nothing can be written."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL ROLE {TENANT_ROLE}")
            cursor.execute("SELECT set_config(%s, %s, true)", [TENANT_SETTING, str(int(tenant_id))])
        yield
        # Only after success: an error rolls both settings back with the block, and asking then would hide it.
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
            cursor.execute("SELECT set_config(%s, '', true)", [TENANT_SETTING])
