"""Who may open what. Every view declares it; a view that declares nothing is refused to everybody.

::

    @public                          anyone (sign-in, health)
    @signed_in                       any person with an account
    @reads_everything                auditors, operators, admins
    @operates                        operators, admins
    @administers                     platform admins
    @tenant_page(TenantRole.VIEWER)  that tenant's people from this role on, and whoever reads everything; else 404
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from portal.accounts.choices import PlatformRole, TenantRole
from portal.accounts.models import Membership, Tenant, User

View = Callable[..., HttpResponseBase]
ROLE_ORDER = [TenantRole.VIEWER, TenantRole.MEMBER, TenantRole.ADMIN]
DECLARED_ELSEWHERE = ("django.contrib.admin", "unfold", "django.contrib.staticfiles", "whitenoise")


def public(view: View) -> View:
    """Anyone may open it, signed in or not."""
    return _declare(view, "public")


def signed_in(view: View) -> View:
    """Any person with an account."""
    return _guard(view, "signed_in", lambda user: True, "")


def reads_everything(view: View) -> View:
    """Auditors, operators and platform admins."""
    return _guard(
        view,
        "reads_everything",
        lambda user: user.reads_everything,
        "This page shows every tenant, so it is for operators and auditors. Your own numbers are on your home page.",
    )


def operates(view: View) -> View:
    """Operators and platform admins: whoever may change things."""
    return _guard(
        view,
        "operates",
        lambda user: user.operates,
        "Only operators may do this. Ask one of them, or a platform admin.",
    )


def administers(view: View) -> View:
    """Platform admins: whoever may change people and their rights."""
    return _guard(
        view,
        "administers",
        is_admin,
        "Only platform admins may change people and their roles. Ask one of them.",
    )


def tenant_page(role: TenantRole, *, change: bool = False) -> Callable[[View], View]:
    """The view is called with the Tenant in place of its slug.

    Strangers get 404: whether a tenant exists is nobody else's business. A role below ``role`` gets 403 with a reason.
    ``change`` keeps auditors out: they read everything and change nothing.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def inner(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return to_sign_in(request)
            user = request.user
            tenant = tenant_for(user, slug)
            if not may_in_tenant(user, tenant, role, change=change):
                raise PermissionDenied(
                    f"This needs the role “{role.value}” in {tenant.name}. A tenant admin can give it to you."
                )
            return view(request, tenant, *args, **kwargs)

        return _declare(inner, f"tenant:{role.value}")

    return decorate


def tenant_for(user: User, slug: str) -> Tenant:
    """The tenant, if this person may know of it. Raises Http404 otherwise."""
    tenants = Tenant.objects.all() if user.reads_everything else Tenant.objects.filter(memberships__user=user)
    tenant = tenants.filter(slug=slug).first()
    if tenant is None:
        raise Http404(f"There is no tenant “{slug}” that you may see.")
    return tenant


def may_in_tenant(user: User, tenant: Tenant, role: TenantRole, *, change: bool = False) -> bool:
    """Whether a person has at least this role in a tenant; operators have every role, auditors read."""
    if user.operates or (user.reads_everything and not change):
        return True
    held = Membership.objects.filter(user=user, tenant=tenant).values_list("role", flat=True).first()
    return held is not None and ROLE_ORDER.index(TenantRole(held)) >= ROLE_ORDER.index(role)


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page, and back here afterwards; a fragment request gets 401 so that a page can say so."""
    if request.headers.get("HX-Request") or request.headers.get("Accept", "").startswith("application/json"):
        return HttpResponse("Your session has ended; sign in again.", status=401, content_type="text/plain")
    return redirect(f"{reverse('sign-in')}?{urlencode({'next': request.get_full_path()})}")


class DenyByDefault:
    """Refuses every view that has not declared who may open it: a forgotten decorator fails closed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Called by Django before each view."""
        if not declared(view):
            raise PermissionDenied("This page does not say who may open it, so nobody may. Tell an operator.")


def declared(view: Any) -> bool:
    """A view is declared by one of the decorators here, by DRF's permission classes, or by the back office itself."""
    if hasattr(view, "access") or hasattr(getattr(view, "cls", None), "permission_classes"):
        return True
    module = getattr(view, "__module__", "") or ""
    wrapped = getattr(getattr(view, "model_admin", None) or getattr(view, "admin_site", None), "__module__", "")
    return module.startswith(DECLARED_ELSEWHERE) or wrapped.startswith(("django.", "unfold", "portal.", "pools."))


def _declare(view: View, access: str) -> View:
    view.access = access  # type: ignore[attr-defined]
    return view


def _guard(view: View, access: str, allowed: Callable[[User], bool], why: str) -> View:
    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return to_sign_in(request)
        if not allowed(request.user):
            raise PermissionDenied(why)
        return view(request, *args, **kwargs)

    return _declare(inner, access)


def is_admin(user: User) -> bool:
    """Platform admins."""
    return user.platform_role == PlatformRole.ADMIN
