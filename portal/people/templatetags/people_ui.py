"""Form fields in the portal's look, each with its sentence and its errors where a screen reader finds them."""

from __future__ import annotations

from typing import Any

from django import forms, template

register = template.Library()


@register.inclusion_tag("components/field.html")
def field(bound: forms.BoundField, label: str = "", hint: str = "") -> dict[str, Any]:
    """Label, control, hint and errors of one field; the control names both by aria-describedby."""
    widget = bound.field.widget
    kind = "form-check-input" if isinstance(widget, forms.CheckboxInput) else "form-control"
    kind = "form-select" if isinstance(widget, forms.Select) else kind
    about = hint or bound.help_text
    described = [f"{bound.id_for_label}_hint"] if about else []
    described += [f"{bound.id_for_label}_error"] if bound.errors else []
    attrs: dict[str, str | bool] = {"class": f"{kind}{' is-invalid' if bound.errors else ''}", "placeholder": ""}
    if described:
        attrs["aria-describedby"] = " ".join(described)
    if bound.errors:
        attrs["aria-invalid"] = "true"
    return {
        "field": bound,
        "control": bound.as_widget(attrs=attrs),
        "label": label or bound.label,
        "hint": about,
        "check": kind == "form-check-input",
    }


@register.inclusion_tag("components/form_errors.html")
def form_errors(form: forms.BaseForm | None) -> dict[str, Any]:
    """The summary at the top: what is wrong, each with a link to its field."""
    if form is None or not form.errors:
        return {"rows": []}
    rows = [("", error) for error in form.non_field_errors()]
    rows += [
        (bound.id_for_label, f"{bound.label}: {error}") for bound in form.visible_fields() for error in bound.errors
    ]
    rows += [("", error) for bound in form.hidden_fields() for error in bound.errors]
    return {"rows": rows}
