"""The fields of a tier's terms: what each means, in which unit, from where to where; from typed text to terms and back.

What was typed is kept as typed, right or wrong: a form that is refused shows it again beside its sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from django.conf import settings

from pools.choices import CLASS_RULES, FailMode, ServiceClass
from pools.services.tier_terms import (
    LARGEST_BURST,
    LARGEST_PRICE,
    LARGEST_TOKENS,
    LARGEST_WEIGHT,
    LONGEST_HOLD_MS,
    LONGEST_SLO_MS,
    LOWEST_WEIGHT,
    TERM_NAMES,
    TierTerms,
    terms_problems,
)

Kind = Literal["whole", "number", "percent", "money", "choice"]
LONGEST_TYPED = 60
MICRO = 1_000_000
THOUSANDTH = Decimal("0.001")
"""Bursts are kept to this."""
FAIL_WORDS = {FailMode.CLOSED.value: "refuse requests", FailMode.OPEN.value: "let requests in, uncounted"}


class TermField(NamedTuple):
    """One field: ``low`` and ``high`` as they are typed (percent, units of money)."""

    name: str
    group: str
    label: str
    sentence: str
    unit: str
    low: Decimal
    high: Decimal
    kind: Kind = "number"

    @property
    def range_text(self) -> str:
        """ "0 to 250 ms"."""
        return f"{self.low:,} to {self.high:,}{f' {self.unit}' if self.unit else ''}"


def _field(name: str, group: str, label: str, unit: str, low: Any, high: Any, kind: Kind, sentence: str) -> TermField:
    return TermField(name, group, label, sentence, unit, Decimal(str(low)), Decimal(f"{high:f}"), kind)


_MONEY = f"{settings.CURRENCY} per million"
_MOST_MONEY = Decimal(LARGEST_PRICE) / MICRO
FIELDS = (
    _field("lendable_share", "Guarantee", "Lends of its idle reserve", "%", 0, Decimal(100), "percent",
           "Others may use this share of a reserve while it lies idle; it returns as soon as their work ends."),
    _field("fail_mode", "Guarantee", "If the counter store is away", "", 0, Decimal(0), "choice",
           "What a gateway does with requests while nothing can be counted."),
    _field("burst_tokens", "Burst", "Tokens per second", "× baseline", 1, Decimal(LARGEST_BURST), "number",
           "How far above its baseline the token rate may go while there is room."),
    _field("burst_kv", "Burst", "KV cache", "× baseline", 1, Decimal(LARGEST_BURST), "number",
           "How far above its baseline the KV cache in use may go."),
    _field("burst_concurrency", "Burst", "Slots", "× baseline", 1, Decimal(LARGEST_BURST), "number",
           "How many sequences may run at once, as a multiple of the baseline."),
    _field("class_weight", "Fairness", "Weight", "", LOWEST_WEIGHT, Decimal(LARGEST_WEIGHT), "number",
           "Its pull on what is left over, beside others of the same rank; ranks always come first."),
    _field("slo_ms", "Fairness", "Target of the first token", "ms", 1, Decimal(LONGEST_SLO_MS), "whole",
           "The tighter the target beside the pool's mean, the larger the weight."),
    _field("default_max_tokens", "Limits", "Usual max_tokens", "tokens", 1, Decimal(LARGEST_TOKENS), "whole",
           "Taken for a request that names no max_tokens."),
    _field("largest_max_tokens", "Limits", "Largest max_tokens", "tokens", 1, Decimal(LARGEST_TOKENS), "whole",
           "A request that asks for more is refused with this number."),
    _field("hold_ms", "Limits", "Waits for room", "ms", 0, Decimal(LONGEST_HOLD_MS), "whole",
           "A request that finds the pool full waits so long before it is refused; 0 refuses at once."),
    _field("price_input_micro", "Price", "Input tokens", _MONEY, 0, _MOST_MONEY, "money",
           "What a million tokens of prompts cost; cached ones count as they are billed."),
    _field("price_output_micro", "Price", "Output tokens", _MONEY, 0, _MOST_MONEY, "money",
           "What a million generated tokens cost."),
)  # fmt: skip
GROUPS = {
    "Guarantee": "What is kept for its tenants.",
    "Burst": "How far beyond the baseline they may go. An entitlement with a cap of its own keeps it.",
    "Fairness": "Who comes first when not everybody fits.",
    "Limits": "What one request may ask for.",
    "Price": "What it costs. New prices hold for usage from then on.",
}
BY_NAME = {field.name: field for field in FIELDS}
assert set(BY_NAME) == set(TERM_NAMES)


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field as the page shows it: what is typed, what is wrong with it, the class's usual value, whether it is
    fixed by the class (``fixed`` says why)."""

    field: TermField
    value: str
    error: str
    usual: str
    fixed: str

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Of a choice."""
        return list(FAIL_WORDS.items())


@dataclass(frozen=True, slots=True)
class Typed:
    """A form as it was sent: ``terms`` is None while anything is wrong; ``errors`` are by field."""

    values: dict[str, str]
    terms: TierTerms | None
    errors: dict[str, str]


def typed_read(given: Mapping[str, str], service_class: str) -> Typed:
    """What was typed, as terms or as sentences; a field that was not sent counts as empty."""
    values = {name: str(given.get(name, "")).strip()[:LONGEST_TYPED] for name in TERM_NAMES}
    errors: dict[str, str] = {}
    parsed: dict[str, Any] = {}
    for field in FIELDS:
        try:
            parsed[field.name] = _parse(field, values[field.name])
        except ValueError as error:
            errors[field.name] = str(error)
    if errors:
        return Typed(values, None, errors)
    terms = TierTerms(**parsed)
    problems = terms_problems(ServiceClass(service_class), terms)
    return Typed(values, None if problems else terms, {name: _readable(text) for name, text in problems.items()})


def typed_of(terms: TierTerms) -> dict[str, str]:
    """The text of each field that reads back as these terms."""
    return {field.name: value_text(field, getattr(terms, field.name)) for field in FIELDS}


def value_text(field: TermField, value: Any) -> str:
    """One value as it is typed."""
    if field.kind == "choice":
        return str(value)
    number = Decimal(str(value))
    if field.kind == "percent":
        number *= 100
    elif field.kind == "money":
        number /= MICRO
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def value_words(name: str, value: Any) -> str:
    """One value as it is read, with its unit."""
    field = BY_NAME[name]
    text = value_text(field, value)
    if field.kind == "choice":
        return FAIL_WORDS.get(text, text)
    whole, dot, part = text.partition(".")
    shown = f"{int(whole):,}{dot}{part}"
    if field.unit.startswith("×"):
        return f"{shown}×"
    return f"{shown}\u00a0{field.unit}" if field.unit else shown


def field_groups(
    values: Mapping[str, str], errors: Mapping[str, str], service_class: str
) -> Iterator[tuple[str, str, list[FieldView]]]:
    """(group, sentence, fields) in the order of the page."""
    usual = TierTerms.of_class(service_class)
    for group, sentence in GROUPS.items():
        yield (
            group,
            sentence,
            [
                FieldView(
                    field,
                    values.get(field.name, ""),
                    errors.get(field.name, ""),
                    value_words(field.name, getattr(usual, field.name)),
                    _fixed(field.name, service_class),
                )
                for field in FIELDS
                if field.group == group
            ],
        )


def _fixed(name: str, service_class: str) -> str:
    """Why the class leaves no choice, "" where it does."""
    found = ServiceClass(service_class)
    if name == "lendable_share" and found is ServiceClass.DEDICATED:
        return "A dedicated tier keeps its reserve even when idle."
    if name == "lendable_share" and not CLASS_RULES[found].reserved:
        return f"A tier of class {found} reserves nothing, so it can lend nothing."
    if name.startswith("burst_") and found is ServiceClass.GUARANTEED:
        return "A guaranteed tier never bursts."
    return ""


def _parse(field: TermField, text: str) -> Any:
    if field.kind == "choice":
        if text not in FAIL_WORDS:
            raise ValueError(f"{field.label}: choose one of {', '.join(FAIL_WORDS)}, got “{text}”.")
        return text
    said = f"{field.label}: write a number of {field.range_text}"
    try:
        number = Decimal(text.replace(",", "").replace("\u00a0", "").replace("_", ""))
    except InvalidOperation:
        raise ValueError(f"{said}, got {f'“{text}”' if text else 'nothing'}.") from None
    if not number.is_finite() or not field.low <= number <= field.high:
        raise ValueError(f"{said}, got {text}.")
    if field.kind == "percent":
        return float(number / 100)
    if field.kind == "money":
        return round(number * MICRO)
    if field.kind == "whole":
        if number != int(number):
            raise ValueError(f"{field.label}: write a whole number of {field.unit}, got {text}.")
        return int(number)
    return number.quantize(THOUSANDTH) if field.name.startswith("burst_") else float(number)


def _readable(sentence: str) -> str:
    for field in FIELDS:
        sentence = sentence.replace(field.name, field.label)
    return sentence
