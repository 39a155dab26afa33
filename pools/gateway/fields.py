"""The types an inference request's fields must have. Only what costs money or breaks an engine is checked here; the
engine has the last word on the rest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pools.gateway.wire import bad_request

MAX_CHOICES = 128
MAX_TOKENS = 10_000_000  # beyond any context there is; the model's own context is checked when it is known


class Field(NamedTuple):
    """kind: a key of _TYPES (text: string or array of strings); low and high are inclusive."""

    kind: str
    low: float | None = None
    high: float | None = None


_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "text": (str, list),
    "toolset": (str, dict),
}
_NAMES = {"text": "a string or an array of strings", "toolset": "a string or an object"}

SHARED: dict[str, Field] = {
    "stream": Field("boolean"),
    "stream_options": Field("object"),
    "max_tokens": Field("integer", 1, MAX_TOKENS),
    "n": Field("integer", 1, MAX_CHOICES),
    "temperature": Field("number", 0, 2),
    "top_p": Field("number", 0, 1),
    "presence_penalty": Field("number", -2, 2),
    "frequency_penalty": Field("number", -2, 2),
    "seed": Field("integer"),
    "stop": Field("text"),
    "logit_bias": Field("object"),
    "user": Field("string"),
}
CHAT: dict[str, Field] = {
    **SHARED,
    "max_completion_tokens": Field("integer", 1, MAX_TOKENS),
    "tools": Field("array"),
    "tool_choice": Field("toolset"),
    "response_format": Field("object"),
    "logprobs": Field("boolean"),
    "top_logprobs": Field("integer", 0, 20),
}
COMPLETION: dict[str, Field] = {
    **SHARED,
    "best_of": Field("integer", 1, MAX_CHOICES),
    "echo": Field("boolean"),
    "suffix": Field("string"),
    "logprobs": Field("integer", 0, 20),
}
EMBEDDING: dict[str, Field] = {
    "encoding_format": Field("string"),
    "dimensions": Field("integer", 1, 1_000_000),
    "user": Field("string"),
}


def check(body: dict[str, Any], fields: dict[str, Field]) -> None:
    """Checks every known field that is present and not null. Raises DomainError 400 naming the field."""
    for name, value in body.items():
        field = fields.get(name)
        if field is None or value is None:
            continue
        # bool is an int to Python, not to JSON
        if not isinstance(value, _TYPES[field.kind]) or (isinstance(value, bool) and field.kind != "boolean"):
            wanted = _NAMES.get(field.kind, f"a{'n' if field.kind[0] in 'aio' else ''} {field.kind}")
            raise bad_request(f"{name} must be {wanted}, not {json_type(value)}.", param=name, code="invalid_type")
        if not isinstance(value, int | float):
            continue
        if field.low is not None and value < field.low:
            raise bad_request(
                f"{name} is {value}; it must be at least {field.low:g}.",
                param=name,
                code=f"{field.kind}_below_min_value",
            )
        if field.high is not None and value > field.high:
            raise bad_request(
                f"{name} is {value}; it must be at most {field.high:,g}.",
                param=name,
                code=f"{field.kind}_above_max_value",
            )


def json_type(value: Any) -> str:
    """What JSON calls a value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    return {float: "a number", str: "a string", list: "an array", dict: "an object"}.get(type(value), "unknown")
