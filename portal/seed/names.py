"""What things are called. The first tenants carry the names that break pages: Arabic, Hebrew, emoji, 200 letters."""

from __future__ import annotations

import itertools

LONGEST = 200
HARD_NAMES = (
    "مصرف الخليج للتجارة والاستثمار",
    "🚀 Rocket Kitchen 🍕🍝",
    (
        "The Very Long Established International Association for the Promotion of Names Nobody Can Read at a Glance "
        "and of Tables That Have to Show Them Nevertheless, Founded a Long Time Ago and Never Shortened Since"
    )[:LONGEST],
    "北海データ研究所",
    "מעבדת אור ים",
    "Ærø & Søn <Forsikring> “A/S”",
    "Größenwahn™ Straßenbau",
    "O'Brien; DROP TABLE tenants;--",
    "👩🏽‍🔬👨‍👩‍👧‍👦 Family Lab",
    "Ünïcödé Çorporâtion Ltd.",
)
FIRST = (
    "Amber", "Atlas", "Birch", "Cedar", "Cobalt", "Comet", "Coral", "Delta", "Dune", "Ember", "Fjord", "Flint",
    "Granite", "Grove", "Harbor", "Heron", "Indigo", "Juniper", "Kestrel", "Lantern", "Maple", "Marble", "Meadow",
    "Nimbus", "Northern", "Onyx", "Orchid", "Osprey", "Pebble", "Quartz", "Raven", "Saffron", "Sequoia", "Silver",
    "Slate", "Summit", "Tidal", "Umber", "Willow", "Zephyr",
)  # fmt: skip
SECOND = (
    "Bank", "Health", "Retail", "Media", "Labs", "Research", "Games", "Logistics", "Education", "Insurance", "Travel",
    "Energy", "Mobility", "Robotics", "Publishing", "Telecom", "Foods", "Studios", "Legal", "Analytics",
)  # fmt: skip
REGIONS = ("eu-north", "eu-west", "eu-south", "us-east", "us-west", "ap-south", "ap-east", "sa-east", "af-south")
PEOPLE = (
    "ada", "amir", "bea", "chen", "dana", "eli", "fatima", "george", "hana", "ivo", "jude", "kofi", "lena", "mateo",
    "nadia", "omar", "priya", "quinn", "rosa", "sam", "tariq", "uma", "viktor", "wei", "yara", "zoe",
)  # fmt: skip
REASONS = (
    "Launch of the new assistant next month.",
    "The nightly batch does not finish before the morning.",
    "Refusals rose with the spring campaign; see the chart of last week.",
    "Contract renewal, as agreed with the account team.",
    "نحتاج إلى سعة أكبر في شهر رمضان",
    "Support answers are slow at noon 🐢",
    "Trial of the longer context.",
)


def tenant_names(count: int) -> list[tuple[str, str]]:
    """(slug, name) of so many tenants; slugs are ASCII and unique."""
    found = [(f"unusual-{number}", name) for number, name in enumerate(HARD_NAMES[: max(1, count // 2)], 1)]
    for round_number in itertools.count(1):
        for second, first in itertools.product(SECOND, FIRST):
            if len(found) >= count:
                return found[:count]
            suffix = "" if round_number == 1 else f" {round_number}"
            name = f"{first} {second}{suffix}"
            found.append((name.lower().replace(" ", "-"), name))
    raise AssertionError("itertools.count ends never")


def pool_names(count: int, models: tuple[tuple[str, str], ...]) -> list[tuple[str, str, int]]:
    """(slug, name, index of its model) of so many pools."""
    found: list[tuple[str, str, int]] = []
    for number in itertools.count(1):
        for region, (place, (slug, name)) in itertools.product(REGIONS, enumerate(models)):
            if len(found) >= count:
                return found
            suffix = "" if number == 1 else f"-{number}"
            found.append((f"{slug}-{region}{suffix}", f"{name} · {region}{suffix}", place))
    raise AssertionError("itertools.count ends never")
