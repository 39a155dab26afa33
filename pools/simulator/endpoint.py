"""A simulated vLLM server as a process: ``python -m pools.simulator.endpoint --port-file FILE --model NAME …``.

It behaves like vLLM's OpenAI server (routes, streaming, metric names, batching, KV exhaustion, aborts) and answers with
meaningless text. No Django, no GPU. It ends on SIGTERM (after draining up to 5 s) and by itself when the process named
in TP_SUPERVISOR_PID is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from pools.simulator.profile import PRESETS, EngineProfile, StepCosts
from pools.simulator.server import Faults, Served, Server
from portal.lib.processes import start_time

SUPERVISOR = "TP_SUPERVISOR_PID"
DRAIN_S = 5.0
WATCH_S = 1.0


def parser() -> argparse.ArgumentParser:
    """The command line. What is not given comes from the preset."""
    line = argparse.ArgumentParser(prog="python -m pools.simulator.endpoint", description="A simulated vLLM endpoint.")
    add = line.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 = any free port")
    add("--port-file", type=Path, help="where the port is written once it listens")
    add("--model", action="append", help="served model name; may be given more than once")
    add("--preset", choices=sorted(PRESETS), default="demo")
    add("--slots", type=int, help="max_num_seqs")
    add("--tokens-per-second", type=float, help="output of a full batch; sets a flat step time of slots / this")
    add("--itl-base-ms", type=float, help="inter-token latency = base + per sequence x batch")
    add("--itl-per-sequence-ms", type=float)
    add("--prefill-rate", type=float, help="prompt tokens per second")
    add("--batched-tokens", type=int, help="tokens one step may compute")
    add("--blocks", type=int, help="KV blocks")
    add("--block-tokens", type=int)
    add("--context", type=int, help="longest prompt plus output")
    add("--bytes-per-token", type=float, default=3.6, help="the simulated tokenizer")
    add("--median-output", type=float, default=120.0, help="median natural answer length in tokens")
    add("--seed", type=int, default=0)
    add("--cold-start-s", type=float, default=0.0, help="answer 503 for so long after the start")
    add("--old-metric-names", action="store_true")
    add("--fail-rate", type=float, default=0.0, help="share of requests answered 500")
    add("--crash-after", type=int, help="exit hard after so many generated tokens")
    add("--stall-after", type=int, help="stop making progress after so many generated tokens")
    add("--hang", action="store_true", help="never answer an inference request")
    return line


def profile_of(options: argparse.Namespace) -> EngineProfile:
    """The preset with what the command line overrides. ValueError for impossible numbers."""
    preset = PRESETS[options.preset]
    given = {
        "max_num_seqs": options.slots,
        "max_num_batched_tokens": options.batched_tokens,
        "num_gpu_blocks": options.blocks,
        "block_tokens": options.block_tokens,
        "context_tokens": options.context,
    }
    profile = replace(preset, **{name: value for name, value in given.items() if value is not None})
    costs = profile.costs
    if options.tokens_per_second is not None:
        costs = StepCosts(profile.max_num_seqs / options.tokens_per_second, 0.0, costs.prefill_tokens_per_s)
    if options.itl_base_ms is not None:
        costs = replace(costs, base_s=options.itl_base_ms / 1000)
    if options.itl_per_sequence_ms is not None:
        costs = replace(costs, per_sequence_s=options.itl_per_sequence_ms / 1000)
    if options.prefill_rate is not None:
        costs = replace(costs, prefill_tokens_per_s=options.prefill_rate)
    return replace(profile, costs=costs)


def served_of(options: argparse.Namespace) -> Served:
    """What is served, faults included."""
    return Served(
        models=tuple(options.model or ("sim-8b",)),
        bytes_per_token=options.bytes_per_token,
        median_output_tokens=options.median_output,
        seed=options.seed,
        old_metric_names=options.old_metric_names,
        faults=Faults(options.fail_rate, options.crash_after, options.stall_after, options.hang),
    )


async def serve(options: argparse.Namespace) -> None:
    """Listen, write the port file, become ready, serve until told to end, drain."""
    server = Server(profile_of(options), served_of(options))
    listener = socket.create_server((options.host, options.port), backlog=256)
    runner = web.AppRunner(server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    if options.port_file is not None:
        _write_port(options.port_file, listener.getsockname()[1])
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    engine = asyncio.create_task(server.driver.run())
    engine.add_done_callback(lambda _task: ending.set())
    helpers = [asyncio.create_task(_become_ready(server, options.cold_start_s))]
    if supervisor := os.environ.get(SUPERVISOR):
        helpers.append(asyncio.create_task(_watch(int(supervisor), ending)))
    await ending.wait()
    server.draining = True
    end = loop.time() + DRAIN_S
    while not server.driver.engine.idle and loop.time() < end and not engine.done():  # noqa: ASYNC110 - once, at the end
        await asyncio.sleep(0.05)
    await runner.cleanup()
    for task in (engine, *helpers):
        task.cancel()
    await asyncio.gather(*helpers, return_exceptions=True)
    if engine.done() and not engine.cancelled() and (error := engine.exception()):
        raise error


async def _become_ready(server: Server, cold_start_s: float) -> None:
    await asyncio.sleep(cold_start_s)
    server.ready = True


async def _watch(pid: int, ending: asyncio.Event) -> None:
    """End when the supervisor's process is gone, or its id belongs to another by now."""
    began = start_time(pid)
    while began and start_time(pid) == began:  # noqa: ASYNC110 - the kernel tells nobody but the parent
        await asyncio.sleep(WATCH_S)
    ending.set()


def _write_port(path: Path, port: int) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{port}\n")
    fresh.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an endpoint; the exit status."""
    line = parser()
    options = line.parse_args(arguments)
    try:
        profile_of(options)
    except (ValueError, ZeroDivisionError) as error:
        line.error(str(error))
    try:
        import uvloop

        uvloop.run(serve(options))
    except ImportError:
        asyncio.run(serve(options))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
