"""Deeds on one's own account: name, time zone, ending sessions."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import available_timezones

from allauth.usersessions.models import UserSession

from portal.accounts.changes import rights_changed
from portal.accounts.models import User
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

LONGEST_NAME = 150


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The time zones there are; reading their folder takes a tenth of a second."""
    return frozenset(available_timezones())


@recorded()
def profile_update(*, actor: Actor, now: datetime, user: User, name: str, time_zone: str) -> User:
    """Name and time zone as the person wants them. Raises DomainError ``bad_profile``."""
    problems: dict[str, str] = {}
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME:
        problems["name"] = f"A name has at most {LONGEST_NAME} characters, got {len(name)}."
    if time_zone and time_zone not in zones():
        problems["time_zone"] = f"{time_zone[:64]!r} is no time zone; choose one such as Europe/Berlin, or none."
    if problems:
        raise DomainError("bad_profile", " ".join(problems.values()), fields=problems)
    before = {"name": user.get_full_name(), "time_zone": user.time_zone}
    after = {"name": name, "time_zone": time_zone}
    if before != after:
        user.first_name, user.last_name, user.time_zone = name, "", time_zone
        user.save(update_fields=["first_name", "last_name", "time_zone"])
        audit_record(actor=actor, verb="profile_update", target=user, before=before, after=after, reason="", now=now)
    return user


@recorded()
def sessions_end(*, actor: Actor, now: datetime, user: User, but: str = "", reason: str = "") -> int:
    """Ends the person's sessions, except the one with the key ``but``; returns how many. Open sockets are cut, too."""
    sessions = list(UserSession.objects.filter(user=user).exclude(session_key=but)[:1000])
    for session in sessions:
        session.end()
    if sessions:
        audit_record(
            actor=actor,
            verb="sessions_end",
            target=user,
            before={"sessions": len(sessions)},
            after={},
            reason=reason,
            now=now,
        )
        rights_changed(user.pk)
    return len(sessions)
