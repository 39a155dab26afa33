"""Who is reading: the platform, or one tenant. A tenant-visible selector takes a viewer and reads in its scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from portal.accounts.choices import TenantState
from portal.accounts.models import Membership, Tenant, User
from portal.lib.errors import DomainError
from portal.lib.scope import tenant_scope


@dataclass(frozen=True, slots=True)
class Viewer:
    """``tenant_id`` None reads everything (operators, admins, auditors); otherwise only that tenant's rows exist."""

    user_id: int | None
    tenant_id: int | None

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Queries inside the block see what this viewer may see; for a tenant the database itself hides the rest."""
        if self.tenant_id is None:
            yield
        else:
            with tenant_scope(self.tenant_id):
                yield


PLATFORM = Viewer(None, None)
"""The viewer of tasks and commands."""


def viewer_for(user: User, tenant_slug: str | None = None) -> Viewer:
    """The viewer a signed-in person is: platform roles read all, others the tenant named or their first one.

    A platform role that names a tenant looks through that tenant's eyes. Raises DomainError ``not_found`` for a tenant
    that is unknown or not theirs (the same sentence for both), ``no_tenant`` for a person without any.
    """
    if user.reads_everything and tenant_slug is None:
        return Viewer(user.pk, None)
    if user.reads_everything:
        tenant_id = Tenant.objects.filter(slug=tenant_slug).values_list("pk", flat=True).first()
    else:
        mine = Membership.objects.filter(user=user).exclude(tenant__state=TenantState.OFFBOARDED)
        if tenant_slug is not None:
            mine = mine.filter(tenant__slug=tenant_slug)
        tenant_id = mine.order_by("tenant__slug").values_list("tenant_id", flat=True).first()
    if tenant_id is None:
        if tenant_slug is None:
            raise DomainError("no_tenant", "You are not a member of any tenant yet; ask an operator.", status=403)
        raise DomainError("not_found", f"There is no tenant {tenant_slug!r} that you may open.", status=404)
    return Viewer(user.pk, tenant_id)
