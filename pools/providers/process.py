"""Simulated endpoints as local processes: detached from the worker that starts them, gone with the supervisor.

An endpoint is ``python -m pools.simulator.endpoint``; its ref is its name, its record and its port file live in the run
folder, so that any worker can find, probe and stop what another one started.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pools.choices import EndpointState
from pools.providers.base import Probe, ReplicaSpec
from pools.providers.metrics import check_health
from portal.env import BASE_DIR
from portal.lib import processes
from portal.lib.errors import DomainError
from portal.lib.processes import ProcessRecord

STOP_S = 6.0
HEALTH_S = 1.0
NAMES = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
SECRETS = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL")


class ProcessProvider:
    """Endpoints with records in ``run_dir`` and outputs in ``log_dir`` (default: beside the records).

    ``host`` is where they listen. The environment is passed on without our secrets; TP_SUPERVISOR_PID in it names the
    process whose end they do not survive (``supervisor_pid`` overrides it).
    """

    fixed_places = False

    def __init__(
        self, run_dir: Path, log_dir: Path | None = None, *, host: str = "127.0.0.1", supervisor_pid: int | None = None
    ) -> None:
        self.run_dir, self.log_dir, self.host = run_dir, log_dir or run_dir, host
        self.supervisor_pid = supervisor_pid

    def start(self, spec: ReplicaSpec) -> str:
        """Start the process unless it runs already; its ref is its name."""
        if not NAMES.fullmatch(spec.name):
            raise DomainError(
                "cannot_start",
                f"An endpoint cannot be named {spec.name!r}; use lower-case letters, digits, dots and dashes.",
            )
        record = self._record(spec.name)
        if record is not None and processes.is_alive(record):
            return spec.name
        self._port_file(spec.name).unlink(missing_ok=True)
        try:
            processes.spawn(
                spec.name,
                self._argv(spec),
                self.run_dir,
                env=self._environment(),
                log=self.log_dir / f"{spec.name}.log",
                cwd=BASE_DIR,
            )
        except DomainError as error:
            if error.code != "already_running":  # another worker was faster
                raise
        return spec.name

    def stop(self, ref: str) -> None:
        """Ask it to drain, wait up to 6 s, kill what is left; its record and port file are removed."""
        record = self._record(ref)
        if record is not None:
            processes.stop(record, STOP_S)
        if NAMES.fullmatch(ref):
            self._port_file(ref).unlink(missing_ok=True)

    def replace(self, ref: str) -> None:
        """Stop it: the next process may have its number."""
        self.stop(ref)

    def probe(self, ref: str) -> Probe:
        """Alive by its record, ready by its /health."""
        record = self._record(ref)
        if record is None:
            return Probe(EndpointState.STOPPED, detail="There is no such process.")
        url = self._url(ref)
        if not processes.is_alive(record):
            code = processes.exit_code(record)
            why = "It ended by itself." if code is None else f"It ended by itself with status {code}."
            return Probe(EndpointState.FAILED, url, why)
        if not url:
            return Probe(EndpointState.STARTING, detail="The process is starting.")
        status = check_health(url, HEALTH_S)
        if status == 200:
            return Probe(EndpointState.READY, url)
        if status is None:
            return Probe(EndpointState.STARTING, url, "The process runs but does not answer.")
        return Probe(EndpointState.STARTING, url, f"/health answers {status}: the model is loading or draining.")

    def list(self) -> tuple[str, ...]:
        """The names of all records, of dead processes too."""
        return tuple(record.name for record in processes.records(self.run_dir))

    def _record(self, ref: str) -> ProcessRecord | None:
        return next((record for record in processes.records(self.run_dir) if record.name == ref), None)

    def _port_file(self, name: str) -> Path:
        return self.run_dir / f"{name}.port"

    def _url(self, name: str) -> str:
        try:
            return f"http://{self.host}:{int(self._port_file(name).read_text())}"
        except (OSError, ValueError):
            return ""

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        environment["OMP_NUM_THREADS"] = "1"
        if self.supervisor_pid is not None:
            environment["TP_SUPERVISOR_PID"] = str(self.supervisor_pid)
        return environment

    def _argv(self, spec: ReplicaSpec) -> Sequence[str]:
        options = {
            "--host": self.host,
            "--port": 0,
            "--port-file": self._port_file(spec.name).resolve(),
            "--model": spec.model,
            "--slots": spec.slots,
            "--blocks": spec.num_gpu_blocks,
            "--block-tokens": spec.block_tokens,
            "--context": spec.context_tokens,
            "--itl-base-ms": spec.itl_base_ms,
            "--itl-per-sequence-ms": spec.itl_per_sequence_ms,
            "--prefill-rate": spec.prefill_tokens_per_second,
            "--cold-start-s": spec.cold_start_s,
            "--bytes-per-token": spec.bytes_per_token,
            "--median-output": spec.median_output_tokens,
            "--seed": spec.seed,
        }
        arguments = [f"{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "pools.simulator.endpoint", *arguments]
