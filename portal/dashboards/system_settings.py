"""The settings in effect, from the one table of ``portal.env``, with everything secret hidden. No queries."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from portal.env import SETTINGS, Setting

SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|PRIVATE_KEY")
SHOWN_ANYWAY = frozenset({"ALERT_PRIVATE_TARGETS"})
USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
HIDDEN = "set, hidden"


class SettingLine(NamedTuple):
    """One setting as it is in effect; ``given``: by the environment, not the default."""

    name: str
    value: str
    given: bool
    doc: str


def settings_shown(environ: Mapping[str, str] | None = None) -> list[SettingLine]:
    """Every setting of the table, in its order."""
    place = os.environ if environ is None else environ
    return [
        SettingLine(one.name, shown(one, place.get(one.name, one.default)), one.name in place, one.doc)
        for one in SETTINGS
    ]


def shown(setting: Setting, text: str) -> str:
    """The value as a page may show it. Of a secret address: scheme, host and path; of any other secret: that it is set.

    Names that sound like a secret are hidden even where the table forgot to say so, and whatever else looks like an
    address loses what stands before its @.
    """
    if not text:
        return "–"
    if setting.secret:
        return address_shown(text) if setting.name.endswith("_URL") else HIDDEN
    if SECRET_NAME.search(setting.name) and setting.name not in SHOWN_ANYWAY:
        return HIDDEN
    return USERINFO.sub("", text)


def address_shown(text: str) -> str:
    """Scheme, host, port and path of an address; user, password and parameters are left out."""
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    if not parts.scheme or "@" in parts.path:
        return HIDDEN
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
