"""To the issuer and back."""

from __future__ import annotations

import secrets
from typing import Any

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.accounts.access import public
from portal.errors import error_page
from portal.people.sso.adapter import PROVIDER, log
from portal.people.sso.claims import TokenError, verified_claims
from portal.people.web.door import wanted


class Issuer(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """allauth's side of the code flow, with a check of the identity token that trusts nothing but its signature."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, PROVIDER)
        self.nonce = ""

    @property
    def openid_config(self) -> dict[str, Any]:
        """The discovery document; it must name the issuer it was asked of."""
        config: dict[str, Any] = super().openid_config
        if config.get("issuer", "").rstrip("/") != settings.OIDC["issuer"].rstrip("/"):
            raise OAuth2Error(f"the discovery document is of {config.get('issuer')!r}")
        return config

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        """Where the issuer sends the person back to; register this address there."""
        return request.build_absolute_uri(reverse("sso-back"))

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        """Claims of the checked token, completed by userinfo when that speaks of the same person."""
        config = self.openid_config
        with get_adapter().get_requests_session() as session:
            answer = session.get(config["jwks_uri"])
            answer.raise_for_status()
        try:
            claims = verified_claims(
                kwargs["response"].get("id_token") or "",
                keys=answer.json(),
                issuer=config["issuer"],
                client_id=app.client_id,
                nonce=self.nonce,
            )
            more = self._fetch_user_info(token.token) if config.get("userinfo_endpoint") else {}
            if more and more.get("sub") != claims["sub"]:
                raise TokenError("userinfo speaks of somebody else")
        except TokenError as error:
            raise OAuth2Error(str(error)) from error
        return self.get_provider().sociallogin_from_response(
            request, {"id_token": claims, "userinfo": {**claims, **more}}
        )


class Back(OAuth2CallbackView):  # type: ignore[misc]
    """The way back; the nonce of the state is what the token must carry."""

    def _get_state(self, request: HttpRequest, provider: Any) -> Any:
        state, answer = super()._get_state(request, provider)
        self.adapter.nonce = (state or {}).get("nonce") or secrets.token_urlsafe()
        return state, answer


@public
@require_safe
@never_cache
def begin(request: HttpRequest) -> HttpResponseBase:
    """Sends the person to the issuer with state, nonce and a PKCE challenge.

    A link, not a form: the policy lets forms go nowhere else. Another site's link ends at our own sign-in page, so that
    nobody is signed in without having meant to.
    """
    if not settings.OIDC:
        raise Http404("Single sign-on is not set up here.")
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return redirect("sign-in")
    nonce = secrets.token_urlsafe(24)
    provider = get_adapter().get_provider(request, PROVIDER)
    provider.oauth2_adapter_class = lambda request, provider_id: Issuer(request)
    try:
        answer: HttpResponseBase = provider.redirect(
            request, process="login", next_url=wanted(request), nonce=nonce, auth_params={"nonce": nonce}
        )
    except (requests.RequestException, OAuth2Error, KeyError, ValueError) as error:
        log.warning("the issuer of single sign-on cannot be used: %s", error)
        return _away(request)
    return answer


@public
@require_safe
@never_cache
def back(request: HttpRequest) -> HttpResponseBase:
    """Where the issuer sends the person back to."""
    if not settings.OIDC:
        raise Http404("Single sign-on is not set up here.")
    try:
        answer: HttpResponseBase = Back.adapter_view(Issuer)(request)
    except ImmediateHttpResponse as refusal:
        answer = refusal.response
    except IntegrityError:  # two windows of the same new person at once: the other one made the account
        answer = redirect("sso")
    except (KeyError, TypeError, ValueError) as error:
        log.warning("single sign-on: an answer that cannot be read: %s: %s", type(error).__name__, error)
        answer = _away(request)
    return answer


def _away(request: HttpRequest) -> HttpResponse:
    sentence = "The sign-in service does not answer as it should. Try again in a minute, or sign in with your password."
    return error_page(request, 503, sentence)
