"""Forms of an operator's deeds on a tenant. Lengths and kinds only: what is allowed is said by the services."""

from __future__ import annotations

from django import forms

from portal.accounts.tenants import DETAILS


def _reason(help_text: str, *, required: bool = True) -> forms.CharField:
    area = forms.Textarea(attrs={"rows": 2})
    return forms.CharField(label="Reason", help_text=help_text, max_length=200, required=required, widget=area)


class DetailsForm(forms.Form):
    """Name, contact, currency. ``seen_…`` is what the editor started from."""

    name = forms.CharField(label="Name", max_length=200, help_text="As everybody reads it, in any script.")
    contact_email = forms.CharField(
        label="Contact e-mail address", max_length=254, required=False, help_text="Whom to ask about this tenant."
    )
    currency = forms.CharField(
        label="Currency", max_length=3, help_text="Three capital letters, such as EUR: what its statements are in."
    )
    reason = forms.CharField(
        label="Reason", required=False, help_text="Kept in the history.", max_length=200, widget=forms.TextInput()
    )

    @property
    def details(self) -> dict[str, str]:
        """What is to be written."""
        return {name: self.cleaned_data[name] for name in DETAILS}


class SuspendForm(forms.Form):
    """Why, and what becomes of the requests that run."""

    reason = _reason("The tenant's people read it.")
    running = forms.ChoiceField(
        label="Requests in flight",
        choices=[("finish", "Let them finish"), ("end", "End them now")],
        initial="finish",
        widget=forms.RadioSelect,
    )


class OffboardForm(forms.Form):
    """The word, the reason, and that no export is needed."""

    without_export = forms.BooleanField(label="No export is needed", required=False)
    reason = _reason("It stays in the history.", required=False)
    confirm = forms.CharField(label="Its slug, typed", required=False, max_length=63)
