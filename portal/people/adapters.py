"""What django-allauth asks us: nobody signs up, our limit counts, secrets are encrypted, changes are audited."""

from __future__ import annotations

import smtplib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.accounts import attempts
from portal.accounts.models import User
from portal.audit.models import Source
from portal.audit.services import Actor, audit_record
from portal.lib.boxes import Purpose, seal, unseal
from portal.lib.clock import now
from portal.lib.mail import log
from portal.people.second_factor import needs_one
from portal.people.sso.roles import holds_from_sso

SSO_SESSION_S = 12 * 3600

# The notices allauth sends after a change of somebody's own credentials → the verb of the audit record.
VERBS = {
    "account/email/password_changed": "password_change",
    "account/email/password_set": "password_set",
    "account/email/password_reset": "password_reset",
    "account/email/email_changed": "email_change",
    "mfa/email/totp_activated": "authenticator_app_add",
    "mfa/email/totp_deactivated": "authenticator_app_remove",
    "mfa/email/webauthn_added": "passkey_add",
    "mfa/email/webauthn_removed": "passkey_remove",
    "mfa/email/recovery_codes_generated": "recovery_codes_renew",
}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Of people's accounts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: people are invited, or come by single sign-on when one of their groups has a rule."""
        return False

    def pre_login(self, request: HttpRequest, user: User, **hooks: Any) -> HttpResponse | None:
        """Whose roles follow groups must come by single sign-on: a password would outlive the groups."""
        by_sso = "sociallogin" in (hooks.get("signal_kwargs") or {})
        if settings.OIDC and not by_sso and holds_from_sso(user):
            clear_login(request)
            messages.error(request, f"Your roles come with {settings.OIDC['name']}. Sign in with it.")
            return redirect("sign-in")
        answer: HttpResponse | None = super().pre_login(request, user, **hooks)
        return answer

    def post_login(self, request: HttpRequest, user: User, **hooks: Any) -> HttpResponse:
        """A session by single sign-on lasts a working day, so that groups are asked again soon."""
        if "sociallogin" in (hooks.get("signal_kwargs") or {}):
            request.session.set_expiry(SSO_SESSION_S)
        answer: HttpResponse = super().post_login(request, user, **hooks)
        return answer

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        """Not to people who come by single sign-on alone: a password would be a second way past it."""
        if user.has_usable_password() or not settings.OIDC:
            super().send_password_reset_mail(user, email, context)

    def reauthenticate(self, user: User, password: str) -> bool:
        """The password again, under the same limit as signing in."""
        sender = self.request.META.get("REMOTE_ADDR", "")
        if attempts.blocked(user.email, sender):
            raise self.validation_error("too_many_login_attempts")
        right = user.check_password(password)
        (attempts.succeeded if right else attempts.failed)(user.email, sender)
        return right

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """As allauth does, except that a mail server that is away breaks no page: the log says so."""
        try:
            super().send_mail(template_prefix, email, context)
        except (OSError, smtplib.SMTPException) as error:
            log.warning("e-mail %s could not be sent: %s", template_prefix, error)

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Tells the person, and the audit trail."""
        if template_prefix in VERBS:
            after = {"email": user.email} if template_prefix.endswith("email_changed") else {}
            actor = Actor(user, Source.PAGE)
            audit_record(
                actor=actor, verb=VERBS[template_prefix], target=user, before={}, after=after, reason="", now=now()
            )
        super().send_notification_mail(template_prefix, user, context, email or user.email)


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Of authenticator apps, passkeys and recovery codes."""

    def encrypt(self, text: str) -> str:
        """Seeds and codes lie encrypted in the database, under a key derived from SECRET_KEY."""
        return seal(text, Purpose.SECOND_FACTORS)

    def decrypt(self, encrypted_text: str) -> str:
        """ "" for a text of another SECRET_KEY: such a code matches nothing, a recovery by an admin is needed."""
        return unseal(encrypted_text, Purpose.SECOND_FACTORS) or ""

    def can_delete_authenticator(self, authenticator: Any) -> bool:
        """Not the last one of somebody who must have one (REQUIRE_MFA)."""
        others = type(authenticator).objects.filter(user_id=authenticator.user_id, type__in=["totp", "webauthn"])
        return not needs_one(authenticator.user) or others.exclude(pk=authenticator.pk).exists()
