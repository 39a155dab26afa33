"""Password and address on allauth's flows: forgotten, changed, set for the first time."""

from __future__ import annotations

from typing import Any

from allauth.account import views as account
from allauth.account.models import EmailAddress
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy

from portal.accounts.access import public, signed_in
from portal.accounts.models import User
from portal.lib.errors import DomainError
from portal.lib.mail import mail_delivers
from portal.lib.pages import note
from portal.people.web.common import Refusing, me


class Forgot(Refusing, account.PasswordResetView):  # type: ignore[misc]
    """Asks for the address; the answer is the same whether it is known or not."""

    template_name = "people/forgot.html"


class ForgotSent(account.PasswordResetDoneView):  # type: ignore[misc]
    """Look into your mail."""

    template_name = "people/forgot_sent.html"

    @property
    def extra_context(self) -> dict[str, object]:
        """Whether mail leaves this installation; a newcomer otherwise waits in vain."""
        return {"delivers": mail_delivers()}


class Reset(Refusing, account.PasswordResetFromKeyView):  # type: ignore[misc]
    """Behind the link of the e-mail: the new password, twice."""

    template_name = "people/reset.html"


class ResetDone(account.PasswordResetFromKeyDoneView):  # type: ignore[misc]
    """Sign in with it."""

    template_name = "people/reset_done.html"


class ChangePassword(Refusing, account.PasswordChangeView):  # type: ignore[misc]
    """The old one and the new one; all other sessions end."""

    template_name = "people/password.html"
    success_url = reverse_lazy("account")

    def get_default_success_url(self) -> str:
        """Back to the account."""
        return str(self.success_url)


class SetPassword(Refusing, account.PasswordSetView):  # type: ignore[misc]
    """The first password of somebody who came by single sign-on, where that is no longer set up."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Refused while single sign-on is the way in."""
        if settings.OIDC and not me(request).has_usable_password():
            note(request, f"You sign in with {settings.OIDC['name']}; a password is not needed.", bad=True)
            return redirect("account")
        answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return answer

    template_name = "people/password.html"
    success_url = reverse_lazy("account")

    def get_default_success_url(self) -> str:
        """Back to the account."""
        return str(self.success_url)


class ChangeEmail(Refusing, account.EmailView):  # type: ignore[misc]
    """A new address counts once its link was opened; until then the old one does."""

    template_name = "people/email.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The address one signs in with is a proved one; allauth's table hears of it here for the first time."""
        user = me(request)
        EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
        answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return answer


class ConfirmEmail(account.ConfirmEmailView):  # type: ignore[misc]
    """Behind the link of the e-mail."""

    template_name = "people/email_confirm.html"

    def post(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Unless somebody else got an account with that address meanwhile."""
        row = self.get_object().email_address
        if User.objects.filter(email__iexact=row.email).exclude(pk=row.user_id).exists():
            raise DomainError("email_taken", f"{row.email} belongs to another account by now.", status=409)
        answer: HttpResponseBase = super().post(*args, **kwargs)
        return answer


class EmailSent(account.EmailVerificationSentView):  # type: ignore[misc]
    """Look into your mail."""

    template_name = "people/forgot_sent.html"
    extra_context = {"verification": True}


forgot = public(Forgot.as_view())
forgot_sent = public(ForgotSent.as_view())
reset = public(Reset.as_view())
reset_done = public(ResetDone.as_view())
change_password = signed_in(ChangePassword.as_view())
set_password = signed_in(SetPassword.as_view())
change_email = signed_in(ChangeEmail.as_view())
confirm_email = public(ConfirmEmail.as_view())
email_sent = public(EmailSent.as_view())
