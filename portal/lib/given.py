"""What an address or a form gives: text, whole numbers and reasons, made safe for a query before anyone uses them."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest

LONGEST_REASON = 500


def text_of(given: Mapping[str, str], name: str, most: int) -> str:
    """A text without space around it and without the one character PostgreSQL cannot keep, cut to ``most``."""
    return given.get(name, "").replace("\x00", "").strip()[:most]


def number_of(text: str, digits: int = 18) -> int | None:
    """A whole number of at most ``digits`` plain digits (18 fit every id); None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def reason_of(request: HttpRequest, most: int = LONGEST_REASON) -> str:
    """The reason that was typed into a form."""
    return text_of(request.POST, "reason", most)
