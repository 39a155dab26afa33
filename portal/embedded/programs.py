"""The programs of an installation, and where it lives: the one table behind ``up``, the private stack and the units."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from portal import env
from portal.embedded.supervisor import Program

SUPERVISOR_PID = "TP_SUPERVISOR_PID"
QUEUES = "tick,scaling,usage,default"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one installation runs: its folder, its two doors, and the environment that says so."""

    var_dir: Path
    address: str
    web_port: int
    gateway_port: int
    concurrency: int
    environ: Mapping[str, str]

    @property
    def run_dir(self) -> Path:
        """Pid records; those of endpoints in ``endpoints`` below it."""
        return self.var_dir / "run"

    @property
    def log_dir(self) -> Path:
        """What the programs say."""
        return self.var_dir / "log"

    @property
    def web_url(self) -> str:
        """Where people go."""
        return f"http://{_reachable(self.address)}:{self.web_port}"

    @property
    def gateway_url(self) -> str:
        """Where requests go."""
        return f"http://{_reachable(self.address)}:{self.gateway_port}"


def place_of(environ: Mapping[str, str]) -> Place:
    """The place an environment describes. Raises DomainError ``bad_setting``."""
    values = env.read_all(environ)
    return Place(
        var_dir=env.var_dir(environ),
        address=values["BIND_ADDRESS"],
        web_port=values["WEB_PORT"],
        gateway_port=values["GATEWAY_PORT"],
        concurrency=values["WORKER_CONCURRENCY"],
        environ={
            "GATEWAY_DRAIN": "3",  # here a stop is somebody who waits
            **environ,
            SUPERVISOR_PID: str(os.getpid()),
            "PYTHONUNBUFFERED": "1",
        },
    )


def manage(*words: str) -> tuple[str, ...]:
    """The command line of a management command."""
    return (sys.executable, str(env.BASE_DIR / "manage.py"), *words)


def programs(place: Place) -> list[Program]:
    """Web, gateway, worker and beat. Beat stops first, so that nothing is queued for a worker that is gone."""
    python = (sys.executable, "-m")
    celery = (*python, "celery", "--app", "portal", "--quiet")
    return [
        Program(
            "web",
            (
                *(*python, "uvicorn", "portal.asgi:application", "--host", place.address),
                *("--port", str(place.web_port), "--ws", "websockets-sansio"),
                *("--no-access-log", "--timeout-graceful-shutdown", "2"),
            ),
            stop_first=2,
        ),
        Program("gateway", (*python, "pools.gateway"), stop_first=2),
        Program(
            "worker",
            (
                *(*celery, "worker", "--pool", "threads", "--concurrency", str(place.concurrency)),
                *("--queues", QUEUES, "--without-mingle", "--without-gossip", "--loglevel", "WARNING"),
            ),
            stop_first=2,
        ),
        Program(
            "beat",
            (*celery, "beat", "--pidfile", "", "--loglevel", "WARNING"),
            stop_first=1,
            stop_timeout_s=2.0,
        ),
    ]


def traffic() -> Program:
    """The demo's requests; among the first to go, so that the gateway has nothing to wait for."""
    return Program("traffic", manage("traffic"), stop_first=1, stop_timeout_s=2.0)


def _reachable(address: str) -> str:
    if address in {"0.0.0.0", "::", ""}:  # noqa: S104  compared, not bound
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address
