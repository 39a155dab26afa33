"""Sign in, sign out, and where a person lands."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.internal.flows.logout import logout
from allauth.account.models import Login
from django import forms
from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import attempts
from portal.accounts.access import public, signed_in
from portal.accounts.models import Tenant, User
from portal.errors import error_page
from portal.people.web.common import me


class SignInForm(forms.Form):
    """E-mail address and password; one sentence for a wrong pair, whichever half was wrong."""

    email = forms.EmailField(label="E-mail address", max_length=254)
    password = forms.CharField(label="Password", max_length=200, strip=False, widget=forms.PasswordInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].widget.attrs.update({"autocomplete": "username webauthn", "autofocus": True})
        self.fields["password"].widget.attrs.update({"autocomplete": "current-password"})


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """The sign-in page. 429 after too many failures, with a sentence that says how long to wait."""
    if request.user.is_authenticated:
        return redirect(wanted(request))
    form = SignInForm(request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        answer, status = _enter(request, form)
        if answer is not None:
            return answer
    elif request.method == "POST":
        status = 422
    context = {"form": form, "next": _next_given(request), "sso_name": settings.OIDC.get("name", "")}
    response = render(request, "people/sign_in.html", context, status=status)
    if status == 429:
        response["Retry-After"] = str(attempts.WINDOW_S)
    return response


def _enter(request: HttpRequest, form: SignInForm) -> tuple[HttpResponseBase | None, int]:
    """The next step for a right pair (a second factor, or the page that was wanted), or the status of the refusal."""
    email, password = form.cleaned_data["email"].lower(), form.cleaned_data["password"]
    sender = request.META.get("REMOTE_ADDR", "")
    if attempts.blocked(email, sender):
        form.add_error(None, "Too many failed attempts. Wait five minutes, then try again.")
        return None, 429
    user = authenticate(request, username=email, password=password)
    if not isinstance(user, User):
        attempts.failed(email, sender)
        form.add_error(None, "That e-mail address and password do not belong together.")
        return None, 422
    attempts.succeeded(email, sender)
    step: HttpResponseBase = perform_password_login(
        request, {"email": email}, Login(user=user, redirect_url=wanted(request))
    )
    return step, 302


@public
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    logout(request, show_message=False)
    return redirect("sign-in")


@public
@require_safe
def inactive(request: HttpRequest) -> HttpResponse:
    """Where a deactivated person ends up who still has a way to prove who they are."""
    return error_page(request, 403, "Your account is deactivated. A platform admin can activate it again.")


@signed_in
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    """Operators and auditors land on the overview, everybody else at their tenant."""
    user = me(request)
    if user.reads_everything:
        return redirect("overview")
    tenant = Tenant.objects.filter(memberships__user=user).order_by("slug").first()
    if tenant is None:
        return render(request, "people/no_tenant.html", {"nav": ""})
    return redirect("tenant-home", slug=tenant.slug)


def wanted(request: HttpRequest) -> str:
    """Where the person wanted to go, if that is one of our own pages."""
    return _next_given(request) or resolve_url("home")


def _next_given(request: HttpRequest) -> str:
    given = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(given, {request.get_host()}, require_https=request.is_secure())
    return given if safe else ""
