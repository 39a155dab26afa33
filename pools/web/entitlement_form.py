"""The form of an entitlement: every field with its unit and a sentence; KV bytes may be written as "3.5 GiB"."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms

from pools.models import Entitlement, Pool, Tier
from pools.services.entitlements import AMOUNTS
from pools.web.common import size_read, size_write
from portal.accounts.models import Tenant

LARGEST, MOST_SLOTS = 2**62, 2**31 - 1
BASES = AMOUNTS[:3]
CHECKED = ("pool", "tier", *AMOUNTS)
"""Fields a fit check needs."""


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


def _amount(label: str, help_text: str, most: int) -> forms.IntegerField:
    return forms.IntegerField(label=label, help_text=help_text, required=False, min_value=0, max_value=most)


def _local(at: datetime | None) -> str:
    """As a date-and-time field wants it, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}" if at else ""


class EntitlementForm(forms.Form):
    """New or changed terms. Names are those of the model, so that the service's own sentences find their field."""

    tenant = forms.CharField(label="Tenant", max_length=63, help_text="Who is promised it. Type a part of its name.")
    pool = forms.CharField(label="Pool", max_length=63, help_text="Where its requests are served.")
    tier = forms.CharField(label="Tier", max_length=63, help_text="The product: class, burst, fairness, price.")
    slug = forms.SlugField(
        label="Slug",
        max_length=63,
        required=False,
        help_text="In addresses; never changes. Empty: tenant and pool, joined.",
    )
    base_tokens_per_second = _amount("Tokens/s", "Input and output, weighted as the pool does.", LARGEST)
    base_kv_bytes = SizeField(label="KV cache", required=False, help_text="Such as 3.5 GiB or 512 MiB.")
    base_concurrency = _amount("Slots", "Sequences in flight at once.", MOST_SLOTS)
    cap_tokens_per_second = _amount("Cap, tokens/s", "Empty: base × the tier's burst.", LARGEST)
    cap_kv_bytes = SizeField(label="Cap, KV cache", required=False, help_text="Empty: base × burst.")
    cap_concurrency = _amount("Cap, slots", "Empty: base × burst.", MOST_SLOTS)
    valid_from = MomentField(label="Effective from", required=False, help_text="UTC. Empty: at once.")
    valid_until = MomentField(label="Expires at", required=False, help_text="UTC. Empty: open.")
    reason = forms.CharField(label="Reason", max_length=500, required=False, help_text="Kept in the history.")
    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, entitlement: Entitlement | None = None, begun: bool = True, **kwargs: Any) -> None:
        self.entitlement = entitlement
        super().__init__(*args, **kwargs)
        if entitlement is not None:
            for name in ("tenant", "pool", "slug", *(["valid_from"] if begun else [])):
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
        found = {**self.amounts, "tier": self.rows["tier"]}
        for name in ("valid_from", "valid_until"):
            if name in data:
                # The field shows minutes: what was not touched keeps its seconds.
                stored = getattr(self.entitlement, name, None)
                found[name] = stored if _local(stored) == _local(data[name]) else data[name]
        if found.get("valid_from", self) is None:
            del found["valid_from"]
        return found

    @property
    def amounts(self) -> dict[str, int | None]:
        """The six amounts; a base left empty is 0, a cap left empty follows the tier."""
        data = self.cleaned_data
        return {name: (data[name] or 0) if name in BASES else data[name] for name in AMOUNTS}

    @property
    def can_be_checked(self) -> bool:
        """Whether enough is typed, and readable, to ask whether it fits. Call ``is_valid`` first."""
        return not any(name in self.errors for name in CHECKED if name in self.fields)

    def proposed(self, now: datetime) -> Entitlement:
        """An entitlement with these terms, never saved; the tenant and the window may be missing."""
        data, held = self.cleaned_data, self.entitlement
        return Entitlement(
            pk=held.pk if held else None,
            slug=held.slug if held else data.get("slug", ""),
            tenant=held.tenant if held else self.rows.get("tenant"),
            pool=held.pool if held else self.rows["pool"],
            tier=self.rows["tier"],
            state=held.state if held else "pending",
            valid_from=data.get("valid_from") or (held.valid_from if held else now),
            valid_until=data.get("valid_until"),
            **self.amounts,
        )


def initial_of(entitlement: Entitlement) -> dict[str, Any]:
    """The form's values of a stored entitlement."""
    return {
        "tier": entitlement.tier.slug,
        **{name: getattr(entitlement, name) for name in AMOUNTS},
        "base_kv_bytes": size_write(entitlement.base_kv_bytes),
        "cap_kv_bytes": size_write(entitlement.cap_kv_bytes),
        "valid_from": _local(entitlement.valid_from),
        "valid_until": _local(entitlement.valid_until),
        "revision": entitlement.revision,
    }
