"""The steps of onboarding as forms; each is kept as it was typed until all of them are done at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings

from pools.mechanism.amounts import Rate
from pools.models import Entitlement, Pool, Tier
from pools.services.onboarding import FirstKey, FirstPromise
from pools.web.entitlement_form import MOST_SLOTS, MomentField, SizeField
from portal.accounts.models import Tenant
from portal.accounts.services import slug_check
from portal.accounts.tenants import details_check
from portal.lib.errors import DomainError
from portal.lib.forms import refused

LIFETIMES = (("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))
MOST_CHOICES = 500


class TenantStep(forms.Form):
    """Who the tenant is."""

    name = forms.CharField(label="Name", max_length=200, help_text="As everybody reads it, in any script.")
    slug = forms.CharField(
        label="Slug", max_length=63, help_text="In addresses and the API: letters, digits, hyphens. It never changes."
    )
    contact_email = forms.CharField(
        label="Contact e-mail address", max_length=254, required=False, help_text="Whom to ask about it. May be empty."
    )
    currency = forms.CharField(label="Currency", max_length=3, help_text="Three capital letters, such as EUR.")

    @staticmethod
    def begin() -> dict[str, str]:
        """What stands there first."""
        return {"currency": settings.CURRENCY if len(settings.CURRENCY) == 3 else "EUR"}

    def clean(self) -> dict[str, Any]:
        """The service's own checks, early: a taken slug is told here, not at the end."""
        data = super().clean() or {}
        if not self.errors:
            try:
                slug_check(data["slug"], "tenant")
                details_check(name=data["name"], contact_email=data["contact_email"], currency=data["currency"])
            except DomainError as error:
                refused(self, error)
            if Tenant.objects.filter(slug=data["slug"]).exists():
                self.add_error("slug", f"There is a tenant {data['slug']!r} already; choose another slug.")
        return data


class AdminStep(forms.Form):
    """Who is invited first."""

    email = forms.EmailField(
        label="E-mail address of its first admin",
        max_length=254,
        required=False,
        help_text="A one-time link goes there; it is open for seven days.",
    )
    later = forms.BooleanField(label="Invite nobody yet", required=False)

    def clean(self) -> dict[str, Any]:
        """An address, or none on purpose."""
        data = super().clean() or {}
        if not data.get("later") and not data.get("email") and "email" not in self.errors:
            self.add_error("email", "Give an address, or say that nobody is invited yet.")
        return data


def _amount(label: str, about: str, most: int) -> forms.IntegerField:
    return forms.IntegerField(label=label, help_text=about, required=False, min_value=0, max_value=most)


class PromiseStep(forms.Form):
    """What it is promised first. Fields are named as the service names them."""

    later = forms.BooleanField(label="Promise nothing yet", required=False)
    pool = forms.ChoiceField(label="Pool", required=False, help_text="Where it is served.")
    tier = forms.ChoiceField(label="Tier", required=False, help_text="The product: class, burst, fairness, price.")
    base_concurrency = _amount("Slots", "Sequences at the same time that are promised.", MOST_SLOTS)
    base_tokens_per_second = _amount("Tokens per second", "What is promised, in tokens/s.", 2**62)
    base_kv_bytes = SizeField(label="KV cache", required=False, help_text="What is promised, such as 3.5 GiB.")
    cap_concurrency = _amount("Ceiling of slots", "Empty: the promise times the tier's burst.", MOST_SLOTS)
    cap_tokens_per_second = _amount("Ceiling of tokens per second", "Empty: the promise times the burst.", 2**62)
    cap_kv_bytes = SizeField(label="Ceiling of KV cache", required=False, help_text="Empty: the promise times it.")
    valid_from = MomentField(
        label="Effective from (UTC)",
        required=False,
        help_text="Empty: at once.",
        widget=forms.DateTimeInput({"type": "datetime-local"}),
    )
    valid_until = MomentField(
        label="Expires at (UTC)",
        required=False,
        help_text="Empty: open.",
        widget=forms.DateTimeInput({"type": "datetime-local"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        pools = Pool.objects.filter(archived_at__isnull=True, current_profile__isnull=False).order_by("slug")
        tiers = Tier.objects.filter(archived_at__isnull=True, current__isnull=False).order_by("slug")
        chosen: Any = self.fields["pool"]
        chosen.choices = [("", "Choose a pool"), *pools.values_list("slug", "name")[:MOST_CHOICES]]
        chosen = self.fields["tier"]
        chosen.choices = [
            ("", "Choose a tier"),
            *(
                (slug, f"{name} ({service_class})")
                for slug, name, service_class in tiers.values_list("slug", "name", "service_class")[:MOST_CHOICES]
            ),
        ]
        self.promise: FirstPromise | None = None

    def clean(self) -> dict[str, Any]:
        """Looks pool and tier up; nothing is asked for when it is left for later."""
        data = super().clean() or {}
        if data.get("later"):
            self._errors = forms.utils.ErrorDict()
            return data
        for name in ("pool", "tier"):
            if not data.get(name) and name not in self.errors:
                self.add_error(name, f"Choose a {name}, or promise nothing yet.")
        if self.errors:
            return data
        pool = Pool.objects.select_related("current_profile").get(slug=data["pool"])
        tier = Tier.objects.select_related("current").get(slug=data["tier"])
        self.promise = FirstPromise(
            pool,
            tier,
            Rate(data["base_tokens_per_second"] or 0, data["base_kv_bytes"] or 0, data["base_concurrency"] or 0),
            (data["cap_tokens_per_second"], data["cap_kv_bytes"], data["cap_concurrency"]),
            data["valid_from"],
            data["valid_until"],
        )
        return data


class KeyStep(forms.Form):
    """Its first key."""

    later = forms.BooleanField(label="Make no key yet", required=False)
    name = forms.CharField(
        label="Name of the key", max_length=100, required=False, help_text="What it is for: the application."
    )
    days = forms.ChoiceField(label="Expires", choices=LIFETIMES, required=False)

    @staticmethod
    def begin() -> dict[str, str]:
        """What stands there first."""
        return {"name": "first key"}

    def clean(self) -> dict[str, Any]:
        """A name, or no key on purpose."""
        data = super().clean() or {}
        if not data.get("later") and not data.get("name") and "name" not in self.errors:
            self.add_error("name", "Give the key a name, or make none yet.")
        return data

    def key(self, now: datetime) -> FirstKey | None:
        """The key to be made; None for later."""
        data = self.cleaned_data
        if data["later"]:
            return None
        days = data["days"]
        return FirstKey(data["name"], now + timedelta(days=int(days)) if days else None)


def proposed(promise: FirstPromise, tenant: Tenant, now: datetime) -> Entitlement:
    """The entitlement a promise would become, never saved."""
    base, cap = promise.base.as_tuple(), promise.cap
    return Entitlement(
        slug="",
        tenant=tenant,
        pool=promise.pool,
        tier=promise.tier,
        base_tokens_per_second=base[0],
        base_kv_bytes=base[1],
        base_concurrency=base[2],
        cap_tokens_per_second=cap[0],
        cap_kv_bytes=cap[1],
        cap_concurrency=cap[2],
        valid_from=promise.valid_from or now,
        valid_until=promise.valid_until,
    )
