"""The form of an entitlement: every field with its unit and a sentence; KV bytes may be written as "3.5 GiB"."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms

from pools.models import Entitlement, Pool, Tier
from pools.services.entitlements import AMOUNTS
from pools.web.common import size_read, size_write
from portal.accounts.models import Tenant

MOST_SLOTS = 2**31 - 1


class SizeField(forms.CharField):
    """Bytes, written with a unit."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return size_read(text)
        except ValueError:
            raise forms.ValidationError("Write bytes such as 3.5 GiB, 512 MiB or 1073741824.") from None


class MomentField(forms.CharField):
    """A moment in UTC from a date-and-time field."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise forms.ValidationError("Write a date and time such as 2027-01-31T00:00.") from None
        return found if found.tzinfo else found.replace(tzinfo=UTC)


def _amount(label: str, help_text: str, required: bool, most: int) -> forms.IntegerField:
    return forms.IntegerField(label=label, help_text=help_text, required=required, min_value=0, max_value=most)


class EntitlementForm(forms.Form):
    """New or changed terms. Names are those of the model, so that the service's own sentences find their field."""

    tenant = forms.CharField(label="Tenant", max_length=63, help_text="Who is promised it. Begin to type its slug.")
    pool = forms.CharField(label="Pool", max_length=63, help_text="Where it is served.")
    tier = forms.CharField(label="Tier", max_length=63, help_text="The product: class, burst, fairness, price.")
    slug = forms.SlugField(
        label="Name", max_length=63, required=False, help_text="In addresses. Empty: tenant and pool, joined."
    )
    base_tokens_per_second = _amount("Tokens per second", "What is promised, in tokens/s.", True, 2**62)
    base_kv_bytes = SizeField(label="KV cache", help_text="What is promised, such as 3.5 GiB.")
    base_concurrency = _amount("Slots", "Sequences at the same time.", True, MOST_SLOTS)
    cap_tokens_per_second = _amount("Cap of tokens per second", "Empty: base times the tier's burst.", False, 2**62)
    cap_kv_bytes = SizeField(label="Cap of KV cache", required=False, help_text="Empty: base times the burst.")
    cap_concurrency = _amount("Cap of slots", "Empty: base times the tier's burst.", False, MOST_SLOTS)
    valid_from = MomentField(label="Effective from (UTC)", required=False, help_text="Empty: at once.")
    valid_until = MomentField(label="Expires at (UTC)", required=False, help_text="Empty: open.")
    reason = forms.CharField(label="Reason", max_length=500, required=False, help_text="Kept in the history.")
    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, entitlement: Entitlement | None = None, **kwargs: Any) -> None:
        self.entitlement = entitlement
        super().__init__(*args, **kwargs)
        if entitlement is not None:
            for name in ("tenant", "pool", "slug", "valid_from"):
                del self.fields[name]
        self.rows: dict[str, Any] = {}

    def clean(self) -> dict[str, Any]:
        """Looks the slugs up."""
        data = super().clean() or {}
        for name, rows in (
            ("tenant", Tenant.objects.all()),
            ("pool", Pool.objects.select_related("current_profile").filter(archived_at__isnull=True)),
            ("tier", Tier.objects.select_related("current").filter(archived_at__isnull=True)),
        ):
            if name in data:
                self.rows[name] = rows.filter(slug=data[name]).first()
                if self.rows[name] is None:
                    self.add_error(name, f"There is no {name} “{data[name][:63]}”.")
        return data

    @property
    def changes(self) -> dict[str, Any]:
        """What a change of terms gets."""
        data = self.cleaned_data
        return {**{name: data[name] for name in AMOUNTS}, "tier": self.rows["tier"], "valid_until": data["valid_until"]}

    def proposed(self, now: datetime) -> Entitlement:
        """An entitlement with these terms, never saved."""
        data, held = self.cleaned_data, self.entitlement
        return Entitlement(
            pk=held.pk if held else None,
            slug=held.slug if held else data["slug"],
            tenant=held.tenant if held else self.rows["tenant"],
            pool=held.pool if held else self.rows["pool"],
            valid_from=(held.valid_from if held else data["valid_from"]) or now,
            **self.changes,
        )


def initial_of(entitlement: Entitlement) -> dict[str, Any]:
    """The form's values of a stored entitlement."""
    return {
        "tier": entitlement.tier.slug,
        **{name: getattr(entitlement, name) for name in AMOUNTS},
        "base_kv_bytes": size_write(entitlement.base_kv_bytes),
        "cap_kv_bytes": size_write(entitlement.cap_kv_bytes),
        "valid_until": f"{entitlement.valid_until.astimezone(UTC):%Y-%m-%dT%H:%M}" if entitlement.valid_until else "",
        "revision": entitlement.revision,
    }
