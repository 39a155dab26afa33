"""A large made-up world, written in bulk: to try the portal, and to measure its pages, with more than a demo holds.

::

    sizes.py     how much of everything: small (tests), medium, large (500 tenants, 200 pools, 50,000 entitlements)
    names.py     what things are called: Arabic, emoji and a name of 200 characters among them
    products.py  tiers with versions; pools with capacity profiles
    parties.py   tenants, people, memberships, keys
    promises.py  entitlements within what their pools can carry; endpoints enough for them
    history.py   samples with their roll-ups and usage, made by the database itself
    measured.py  fairness and advice, likewise
    ledger.py    debts with balanced postings
    alerts.py    rules, alerts that came and went, messages
    trail.py     decisions, requests, jobs, saved views, the audit chain
    world.py     all of it in one transaction: there whole or not at all
    live.py      requests in flight and real ticks, so that live pages have something to show

Rows go in by COPY (``portal.lib.copying``) or are made inside the database. Every name is invented.
One random seed makes the same world again.
"""
