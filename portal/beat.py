"""Celery's beat, made quiet while the broker is away: one line when it goes, one when it is back."""

from __future__ import annotations

import logging
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

log = logging.getLogger(__name__)


class SteadyScheduler(Scheduler):
    """The table is in code (``portal.celery``), so nothing is kept on disk; a beat that cannot be sent is dropped."""

    away = False

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Sends one beat. The next one comes by itself, so a failure is not worth a trace every second."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:
            # Whatever a broker that is starting or going away may raise: beat must outlive it.
            if not self.away:
                self.away = True
                log.warning("beats wait for the broker: %s", error)
        else:
            if self.away:
                self.away = False
                log.warning("beats are sent again")
