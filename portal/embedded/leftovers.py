"""Endpoint processes and whatever a killed supervisor left behind."""

from __future__ import annotations

from pathlib import Path

from portal.embedded.interrupts import Interrupts
from portal.embedded.supervisor import stop_together
from portal.lib import processes

ENDPOINTS = "endpoints"
SERVERS = {"postgres", "valkey"}  # those know best themselves how to be stopped
STOP_S = 3.0


def stop_leftovers(run_dir: Path, interrupts: Interrupts) -> int:
    """Stops every recorded process but the servers; how many were still alive."""
    found = [record for record in processes.records(run_dir) if record.name not in SERVERS]
    found += processes.records(run_dir / ENDPOINTS)
    alive = [record for record in found if processes.is_alive(record)]
    stop_together(alive, STOP_S, interrupts)
    for record in found:
        processes.forget(record)
    return len(alive)
