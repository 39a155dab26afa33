"""Doors of the people room. Names with an underscore are the ones django-allauth's flows look for."""

from __future__ import annotations

from django.urls import path, re_path

from portal.people.sso import views as sso
from portal.people.web import account, credentials, door, groups, invitation, invite, people, second

urlpatterns = [
    path("", door.home, name="home"),
    path("sign-in/", door.sign_in, name="sign-in"),
    path("sign-in/", door.sign_in, name="account_login"),
    path("sign-in/second/", second.authenticate, name="mfa_authenticate"),
    path("sign-in/passkey/", second.sign_in_by_passkey, name="mfa_login_webauthn"),
    path("sign-in/sso/", sso.begin, name="sso"),
    path("sign-in/sso/back/", sso.back, name="sso-back"),
    path("sign-in/inactive/", door.inactive, name="account_inactive"),
    path("sign-out/", door.sign_out, name="sign-out"),
    path("forgot/", credentials.forgot, name="account_reset_password"),
    path("forgot/sent/", credentials.forgot_sent, name="account_reset_password_done"),
    path("forgot/done/", credentials.reset_done, name="account_reset_password_from_key_done"),
    re_path(
        r"^forgot/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$", credentials.reset, name="account_reset_password_from_key"
    ),
    path("invitation/<str:token>/", invitation.invitation, name="invitation"),
    path("account/", account.account, name="account"),
    path("account/end-sessions/", account.end_sessions, name="account-end-sessions"),
    path("account/password/", credentials.change_password, name="account_change_password"),
    path("account/password/first/", credentials.set_password, name="account_set_password"),
    path("account/email/", credentials.change_email, name="account_email"),
    path("account/email/sent/", credentials.email_sent, name="account_email_verification_sent"),
    re_path(r"^account/email/(?P<key>[-:\w]+)/$", credentials.confirm_email, name="account_confirm_email"),
    path("account/confirm/", second.reauthenticate, name="account_reauthenticate"),
    path("account/confirm/code/", second.reauthenticate_by_code, name="mfa_reauthenticate"),
    path("account/confirm/passkey/", second.reauthenticate_by_passkey, name="mfa_reauthenticate_webauthn"),
    path("account/factors/", second.to_account, name="mfa_index"),
    path("account/app/", second.app_add, name="mfa_activate_totp"),
    path("account/app/remove/", second.app_remove, name="mfa_deactivate_totp"),
    path("account/passkeys/", second.to_account, name="mfa_list_webauthn"),
    path("account/passkeys/add/", second.passkey_add, name="mfa_add_webauthn"),
    path("account/passkeys/<int:pk>/", second.passkey_rename, name="mfa_edit_webauthn"),
    path("account/passkeys/<int:pk>/remove/", second.passkey_remove, name="mfa_remove_webauthn"),
    path("account/codes/", second.codes_view, name="mfa_view_recovery_codes"),
    path("account/codes/new/", second.codes_new, name="mfa_generate_recovery_codes"),
    path("account/codes.txt", second.codes_download, name="mfa_download_recovery_codes"),
    path("people/", people.people, name="people"),
    path("people.csv", people.people_csv, name="people-csv"),
    path("people/invite/", invite.invite, name="people-invite"),
    path("people/invitations/<int:number>/resend/", invite.resend, name="people-invitation-resend"),
    path("people/invitations/<int:number>/revoke/", invite.revoke, name="people-invitation-revoke"),
    path("people/invitations/<int:number>/restore/", invite.restore, name="people-invitation-restore"),
    path("people/groups/", groups.groups, name="people-groups"),
    path("people/groups/add/", groups.add, name="people-group-add"),
    path("people/groups/<int:number>/remove/", groups.remove, name="people-group-remove"),
    path("people/groups/restore/<str:token>/", groups.restore, name="people-group-restore"),
    path("people/<int:user_id>/", people.person, name="person"),
    path("people/<int:user_id>/role/", people.role, name="person-role"),
    path("people/<int:user_id>/role/<str:before>/", people.role_undo, name="person-role-undo"),
    path("people/<int:user_id>/active/<str:state>/", people.active, name="person-active"),
    path("people/<int:user_id>/factors/", people.factors_reset, name="person-factors-reset"),
    path("people/<int:user_id>/sessions/", people.sessions, name="person-sessions-end"),
]
