"""What django-allauth asks about a person who comes from the issuer: known, new with a rule, or refused."""

from __future__ import annotations

import logging
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp
from django.conf import settings
from django.http import HttpRequest

from portal.accounts.models import User
from portal.audit.services import audit_record, recorded
from portal.errors import error_page
from portal.lib.clock import now
from portal.people.sso.claims import groups_of
from portal.people.sso.roles import ACTOR, holds_anything, roles_follow, roles_wanted

log = logging.getLogger(__name__)
PROVIDER = "sso"


def refuse(request: HttpRequest, sentence: str, *, status: int = 403) -> ImmediateHttpResponse:
    """The exception that shows a page with a sentence; raise it."""
    return ImmediateHttpResponse(error_page(request, status, sentence))


class SsoAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Of people who come by single sign-on."""

    def list_apps(self, request: HttpRequest, provider: str | None = None, client_id: str | None = None) -> list[Any]:
        """The one issuer of the environment; the database table of allauth is not used."""
        oidc = settings.OIDC
        if not oidc or provider not in {None, PROVIDER, "openid_connect"}:
            return []
        return [
            SocialApp(
                provider="openid_connect",
                provider_id=PROVIDER,
                name=oidc["name"],
                client_id=oidc["client_id"],
                secret=oidc["client_secret"],
                settings={
                    "server_url": oidc["issuer"].rstrip("/"),
                    "oauth_pkce_enabled": True,
                    "scope": oidc["scopes"],
                    "verified_email": True if oidc["trust_email"] else None,
                },
            )
        ]

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """A page that says what to do; the reason itself is for the log."""
        log.warning("single sign-on failed: %s %s", error, exception)
        if error == "cancelled":
            raise refuse(request, "The sign-in was cancelled over there. Begin again when you like.")
        if exception is None:
            raise refuse(
                request,
                "This sign-in was begun in another browser, or too long ago. Begin again from the sign-in page.",
            )
        raise refuse(
            request,
            "The answer of the sign-in service could not be trusted. Begin again; tell an operator if it stays.",
        )

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> Any:
        """The whole name in one field, as the account page keeps it."""
        user = super().populate_user(request, sociallogin, data)
        name = data.get("name") or " ".join(part for part in (data.get("first_name"), data.get("last_name")) if part)
        user.first_name, user.last_name = str(name)[:150], ""
        user.email = user.email.lower()
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Finds the person, lets the roles follow the groups, and refuses who would then hold nothing."""
        groups = _groups(sociallogin)
        if not sociallogin.is_existing:
            self._meet(request, sociallogin, groups)
        if not sociallogin.is_existing:
            return
        user = sociallogin.user
        if not user.is_active:
            raise refuse(request, "Your account is deactivated. A platform admin can activate it again.")
        roles_follow(now=now(), user=user, groups=groups)
        user.refresh_from_db()
        if not holds_anything(user):
            raise refuse(request, _nothing_for(groups))

    def _meet(self, request: HttpRequest, sociallogin: Any, groups: set[str]) -> None:
        """Somebody who never came this way: an account with the same verified address, or a rule for a new one."""
        email = (sociallogin.user.email or "").lower()
        if not email:
            raise refuse(request, "The sign-in service gave no e-mail address, which is needed here. Ask its admin.")
        known = User.objects.filter(email__iexact=email).first()
        if known is None:
            if not roles_wanted(groups):
                raise refuse(request, _nothing_for(groups))
            return
        if not any(row.verified for row in sociallogin.email_addresses if row.email.lower() == email):
            raise refuse(
                request,
                f"There is an account for {email} already, and the sign-in service does not say that the address is "
                "yours. Sign in with your password; a platform admin may let single sign-on vouch for addresses.",
            )
        sociallogin.connect(request, known)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Only whose groups have a rule; pre_social_login has asked already."""
        return bool(roles_wanted(_groups(sociallogin)))

    @recorded()
    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Any:
        """The new person, with a record and the roles of the groups."""
        user = super().save_user(request, sociallogin, form)
        moment = now()
        audit_record(
            actor=ACTOR, verb="user_create", target=user, before={}, after={"email": user.email}, reason="", now=moment
        )
        roles_follow(now=moment, user=user, groups=_groups(sociallogin))
        user.refresh_from_db()
        return user


def _groups(sociallogin: Any) -> set[str]:
    data: dict[str, Any] = sociallogin.account.extra_data
    path = settings.OIDC["group_claim"]
    return groups_of(data.get("id_token") or {}, path) | groups_of(data.get("userinfo") or {}, path)


def _nothing_for(groups: set[str]) -> str:
    shown = ", ".join(sorted(groups)[:5]) + (" and more" if len(groups) > 5 else "")
    said = f"The sign-in service says you are in {shown}" if groups else "The sign-in service names no group of yours"
    return f"{said}; nothing here is open to that. Ask a platform admin for a rule for your group, or an invitation."
