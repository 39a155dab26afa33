"""Second factors on allauth's flows: the code at the door, authenticator app, passkeys, recovery codes."""

from __future__ import annotations

from typing import Any

from allauth.account import views as account
from allauth.mfa.base import views as base
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.views.decorators.http import require_safe

from portal.accounts.access import public, signed_in
from portal.people.web.common import Refusing

PASSKEYS = {"nav": "account", "passkeys": True}  # the template then loads the scripts


class Authenticate(Refusing, base.AuthenticateView):  # type: ignore[misc]
    """After the password: a code, a recovery code, or the passkey."""

    template_name = "people/authenticate.html"


class SignInByPasskey(webauthn.LoginWebAuthnView):  # type: ignore[misc]
    """GET as JSON: the challenge; POST: the signed answer. A person without any session may ask."""

    def form_invalid(self, form: Any) -> HttpResponse:
        """Back to the door, with a sentence."""
        messages.error(self.request, "That passkey is not known here. Sign in with your password, then add it anew.")
        return redirect("sign-in")


class Reauthenticate(Refusing, account.ReauthenticateView):  # type: ignore[misc]
    """The password again before a change of credentials."""

    template_name = "people/reauthenticate.html"


class ReauthenticateByCode(Refusing, base.ReauthenticateView):  # type: ignore[misc]
    """A code instead of the password."""

    template_name = "people/reauthenticate.html"


class ReauthenticateByPasskey(webauthn.ReauthenticateWebAuthnView):  # type: ignore[misc]
    """A passkey instead of the password."""

    template_name = "people/reauthenticate_passkey.html"
    extra_context = PASSKEYS

    def form_invalid(self, form: Any) -> HttpResponse:
        """Asked again, with a sentence."""
        messages.error(self.request, "That passkey is not one of yours. Try again, or confirm in another way.")
        return redirect(self.request.get_full_path())


class AddApp(Refusing, totp.ActivateTOTPView):  # type: ignore[misc]
    """The QR code, and the first code as a proof."""

    template_name = "people/app_add.html"


class RemoveApp(Refusing, totp.DeactivateTOTPView):  # type: ignore[misc]
    """Asks once, then removes."""

    template_name = "people/factor_remove.html"
    success_url = reverse_lazy("account")
    extra_context = {"nav": "account", "what": "the authenticator app"}


class AddPasskey(Refusing, webauthn.AddWebAuthnView):  # type: ignore[misc]
    """The browser makes a key pair; its public half comes here."""

    template_name = "people/passkey_add.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """A name that says more than allauth's “Master key”."""
        found: dict[str, Any] = {**super().get_context_data(**kwargs), **PASSKEYS}
        found["form"].initial.update({"name": "Passkey", "passwordless": True})
        return found


class RenamePasskey(Refusing, webauthn.EditWebAuthnView):  # type: ignore[misc]
    """Another name, to tell several apart."""

    template_name = "people/passkey_rename.html"
    success_url = reverse_lazy("account")


class RemovePasskey(webauthn.RemoveWebAuthnView):  # type: ignore[misc]
    """Asks once, then removes; not the last factor of somebody who must have one."""

    template_name = "people/factor_remove.html"
    success_url = reverse_lazy("account")
    extra_context = {"nav": "account", "what": "this passkey"}

    def form_valid(self, form: Any) -> HttpResponse:
        """Refused with a sentence when REQUIRE_MFA needs it."""
        from allauth.mfa.adapter import get_adapter

        if not get_adapter().can_delete_authenticator(self.get_object()):
            messages.error(self.request, "Your role needs a second factor. Add another one before removing this one.")
            return redirect("account")
        answer: HttpResponse = super().form_valid(form)
        return answer


class Codes(codes.ViewRecoveryCodesView):  # type: ignore[misc]
    """The unused recovery codes."""

    template_name = "people/codes.html"
    extra_context = {"nav": "account"}


class NewCodes(Refusing, codes.GenerateRecoveryCodesView):  # type: ignore[misc]
    """A new set; the old ones stop working."""

    template_name = "people/codes_new.html"


@require_safe
def _to_account(request: HttpRequest) -> HttpResponse:
    return redirect("account")


authenticate = public(Authenticate.as_view())
sign_in_by_passkey = public(SignInByPasskey.as_view())
to_account = signed_in(_to_account)
reauthenticate = signed_in(Reauthenticate.as_view())
reauthenticate_by_code = signed_in(ReauthenticateByCode.as_view())
reauthenticate_by_passkey = signed_in(ReauthenticateByPasskey.as_view())
app_add = signed_in(AddApp.as_view())
app_remove = signed_in(RemoveApp.as_view())
passkey_add = signed_in(AddPasskey.as_view())
passkey_rename = signed_in(RenamePasskey.as_view())
passkey_remove = signed_in(RemovePasskey.as_view())
codes_view = signed_in(Codes.as_view())
codes_new = signed_in(NewCodes.as_view())
codes_download = signed_in(require_safe(codes.DownloadRecoveryCodesView.as_view()))
