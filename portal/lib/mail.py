"""E-mail: the address links begin with, and one function that sends."""

from __future__ import annotations

import logging
import smtplib

from django.conf import settings
from django.core.mail import EmailMessage

log = logging.getLogger(__name__)
LONGEST_ERROR = 200


def mail_delivers() -> bool:
    """Whether e-mails leave this installation; otherwise whoever causes one should see its link, too."""
    return not settings.EMAIL_BACKEND.endswith(("filebased.EmailBackend", "console.EmailBackend"))


def portal_address(path: str) -> str:
    """The full address of a path of the portal."""
    return f"{settings.PORTAL_URL}{path}"


def mail_send(*, to: list[str], subject: str, body: str) -> str:
    """Sends plain text; "" or, when the mail server refuses or is away, a short reason. Never raises for those."""
    message = EmailMessage(" ".join(subject.split()), body, None, to)
    try:
        message.send()
    except (OSError, smtplib.SMTPException) as error:
        log.warning("e-mail %r could not be sent: %s", subject, error)
        return f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
    return ""
