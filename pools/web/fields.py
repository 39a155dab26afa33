"""Typed fields of forms: what each means, in which unit, from where to where; from typed text to values and back.

What was typed is kept as typed, right or wrong: a form that is refused shows it again beside its sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from portal.lib.given import text_of

Kind = Literal["whole", "number", "percent", "text", "choice", "flag", "lines"]
LONGEST_NUMBER = 60
LONGEST_LINES = 20_000


class Field(NamedTuple):
    """One field. ``low`` and ``high`` as they are typed (letters of a text); ``usual`` is its default in words."""

    name: str
    group: str
    label: str
    sentence: str
    unit: str = ""
    low: float = 0
    high: float = 0
    usual: str = ""
    kind: Kind = "whole"
    choices: tuple[tuple[str, str], ...] = ()
    optional: bool = False

    @property
    def range_text(self) -> str:
        """ "1 to 10 times"; empty where there is no range to tell."""
        if self.kind in ("text", "choice", "flag", "lines"):
            return ""
        return f"{self.low:,.10g} to {self.high:,.10g}{f' {self.unit}' if self.unit else ''}"

    @property
    def letters(self) -> int:
        """The longest text that may be typed."""
        return int(self.high) if self.kind == "text" else LONGEST_NUMBER


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field as the page shows it: what is typed, what is wrong, what stands in for an empty value."""

    field: Field
    value: str
    error: str = ""
    placeholder: str = ""


@dataclass(slots=True)
class Typed:
    """What was sent: texts as typed, values of those that could be read (None: left empty), sentences for the rest."""

    values: dict[str, str]
    parsed: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def typed_read(fields: Iterable[Field], given: Mapping[str, str]) -> Typed:
    """Reads every field; one that was not sent counts as empty (a flag as off)."""
    typed = Typed({})
    for one in fields:
        most = LONGEST_LINES if one.kind == "lines" else max(one.letters + 1, 256)
        text = text_of(given, one.name, most)
        typed.values[one.name] = text
        try:
            typed.parsed[one.name] = _parse(one, text)
        except ValueError as error:
            typed.errors[one.name] = f"{one.label}: {error}"
    return typed


def typed_of(fields: Iterable[Field], values: Mapping[str, Any]) -> dict[str, str]:
    """The text of each field that reads back as these values."""
    return {one.name: value_text(one, values.get(one.name)) for one in fields}


def value_text(one: Field, value: Any) -> str:
    """One value as it is typed."""
    if value is None:
        return ""
    if one.kind == "flag":
        return "1" if value else ""
    if one.kind == "lines":
        return "\n".join(value)
    if one.kind in ("text", "choice"):
        return str(value)
    number = Decimal(repr(value) if isinstance(value, float) else str(value))
    if one.kind == "percent":
        number *= 100
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def value_words(one: Field, value: Any) -> str:
    """One value as it is read, with its unit."""
    text = value_text(one, value)
    if one.kind == "flag":
        return "yes" if text else "no"
    if one.kind == "lines":
        return f"{len(text.splitlines())} lines"
    if one.kind == "choice":
        return dict(one.choices).get(text, text)
    if one.kind == "text" or not text:
        return text or "–"
    whole, dot, part = text.partition(".")
    return f"{int(whole):,}{dot}{part}" + (f"\u00a0{one.unit}" if one.unit else "")


def field_groups(
    fields: Sequence[Field],
    groups: Mapping[str, str],
    values: Mapping[str, str],
    errors: Mapping[str, str],
    placeholders: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, str, list[FieldView]]]:
    """(group, sentence, fields) in the order of the page; empty groups are left out."""
    stands = placeholders or {}
    for group, sentence in groups.items():
        views = [
            FieldView(one, values.get(one.name, ""), errors.get(one.name, ""), stands.get(one.name, ""))
            for one in fields
            if one.group == group
        ]
        if views:
            yield group, sentence, views


def _parse(one: Field, text: str) -> Any:
    if one.kind == "flag":
        return text in ("1", "on", "true")
    if one.kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if not text:
        if one.optional:
            return "" if one.kind == "text" else None
        raise ValueError("this is needed.")
    if one.kind == "text":
        if len(text) > one.high:
            raise ValueError(f"at most {one.high:,.0f} letters, got {len(text):,}.")
        return text
    if one.kind == "choice":
        if text not in dict(one.choices):
            raise ValueError(f"choose one of {', '.join(words for _, words in one.choices)}.")
        return text
    return _number(one, text)


def _number(one: Field, text: str) -> int | float:
    said = f"write a{' whole' if one.kind == 'whole' else ''} number of {one.range_text}"
    try:
        number = Decimal(text.replace(",", "").replace("\u00a0", "").replace("_", ""))
    except InvalidOperation:
        raise ValueError(f"{said}, got “{text[:40]}”.") from None
    if not number.is_finite() or not Decimal(str(one.low)) <= number <= Decimal(str(one.high)):
        raise ValueError(f"{said}, got {text[:40]}.")
    if one.kind == "percent":
        return float(number / 100)
    if one.kind == "whole":
        if number != int(number):
            raise ValueError(f"{said}, got {text[:40]}.")
        return int(number)
    return float(number)
