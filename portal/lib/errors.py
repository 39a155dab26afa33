"""One exception for every refused deed: a stable code and a sentence a person can act on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class DomainError(Exception):
    """A deed that was refused; nothing was written.

    ``code`` is stable, in lower case; ``sentence`` names the thing, the value seen, what is allowed and the next step;
    ``status`` is the HTTP status the edge should use; ``fields`` maps a form or JSON field to its sentence.
    """

    def __init__(
        self, code: str, sentence: str, *, status: int = 400, fields: dict[str, str] | None = None, **details: Any
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.status = status
        self.fields = fields or {}
        self.details = details

    def __str__(self) -> str:
        return f"{self.sentence} ({self.code})"


class Answering:
    """A block that a refused deed ends: ``answer`` takes the refusal and says whether it has answered it."""

    def __init__(self, answer: Callable[[DomainError], bool]) -> None:
        self._answer = answer

    def __enter__(self) -> None:
        """The deed begins."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """True: the refusal is answered, the view goes on."""
        return isinstance(error, DomainError) and self._answer(error)
