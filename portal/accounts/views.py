"""Sign in, sign out, and where a person lands."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import attempts
from portal.accounts.access import public, signed_in
from portal.accounts.models import Tenant, User


class SignInForm(forms.Form):
    """E-mail address and password; one sentence for a wrong pair, whichever half was wrong."""

    email = forms.EmailField(label="E-mail address", max_length=254)
    password = forms.CharField(label="Password", max_length=200, strip=False, widget=forms.PasswordInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].widget.attrs.update(
            {"autocomplete": "username", "autofocus": True, "class": "form-control"}
        )
        self.fields["password"].widget.attrs.update({"autocomplete": "current-password", "class": "form-control"})


@public
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """The sign-in page. 429 after too many failures, with a sentence that says how long to wait."""
    if request.user.is_authenticated:
        return redirect(_next(request))
    form = SignInForm(request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        email, password = form.cleaned_data["email"].lower(), form.cleaned_data["password"]
        sender = request.META.get("REMOTE_ADDR", "")
        if attempts.blocked(email, sender):
            status = 429
            form.add_error(None, "Too many failed attempts. Wait five minutes, then try again.")
        elif (user := authenticate(request, username=email, password=password)) is not None:
            attempts.succeeded(email, sender)
            login(request, user)
            return redirect(_next(request))
        else:
            attempts.failed(email, sender)
            status = 422
            form.add_error(None, "That e-mail address and password do not belong together.")
    elif request.method == "POST":
        status = 422
    response = render(
        request, "accounts/sign_in.html", {"form": form, "next": request.GET.get("next", "")}, status=status
    )
    if status == 429:
        response["Retry-After"] = str(attempts.WINDOW_S)
    return response


@public
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    logout(request)
    return redirect("sign-in")


@signed_in
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    """Operators and auditors land on the overview, everybody else at their tenant."""
    user = cast(User, request.user)
    if user.reads_everything:
        return redirect("overview")
    tenant = Tenant.objects.filter(memberships__user=user).order_by("slug").first()
    if tenant is None:
        return render(request, "accounts/no_tenant.html", {"nav": ""})
    return redirect("tenant-home", slug=tenant.slug)


def _next(request: HttpRequest) -> str:
    """Where the person wanted to go, if that is one of our own pages."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else resolve_url("home")
