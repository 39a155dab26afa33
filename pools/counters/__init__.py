"""The hot state: who may start a request now, decided inside Valkey, one round trip per decision.

``keys`` names every key → ``records`` lays them out (packed doubles) → ``functions/*.lua`` work on them, joined and
filled in by ``library`` → ``wire`` turns calls and replies into ``types``. Two doors: ``client`` (asyncio, the
gateway: ``transport`` and ``listener`` below it) and ``store`` (synchronous, the control plane: ``terms`` packs its
configurations, ``snapshot`` is what it reads, ``rebuild`` restores everything from the books).

The functions do what ``pools.mechanism.admission.decide`` and ``settlement.settle`` say; a test plays more than
100,000 random deeds on both and compares every record bit for bit. One pool is one hash tag, so all keys of a call
share a cluster slot. A reservation is one key (the request id's memory) and one name in a list per 5 s of lease end,
which ``reap`` works off.
"""
