"""What forms share: a refused deed's sentences beside the fields they belong to."""

from __future__ import annotations

from django import forms

from portal.lib.errors import Answering, DomainError


def refused(form: forms.Form, error: DomainError, *, prefix: str = "") -> None:
    """Adds the sentences of a refused deed to a bound form; what belongs to no field of it stands at the top.

    ``prefix``: only fields that begin with it, without it. A field that the form does not show keeps its sentence.
    """
    own = {
        name.removeprefix(prefix): sentence for name, sentence in error.fields.items() if name.startswith(prefix)
    } or {"": error.sentence}
    for name, sentence in own.items():
        form.add_error(name if name in form.fields else None, sentence)


def refusal_shown(form: forms.Form) -> Answering:
    """For a deed with the answer to its success: a refusal ends the block and stands in the form, which is shown again
    behind it."""

    def shown(error: DomainError) -> bool:
        refused(form, error)
        return True

    return Answering(shown)
