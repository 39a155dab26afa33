"""Run an engine in virtual time: no sleeping, no clock, the same answer every time.

``run`` replays a list of arrivals to the end. For experiments with admission in front of the engine, drive
:class:`VirtualEngine` yourself: ``advance(until)`` plays all steps that end by then and tells what happened,
``submit`` and ``abort`` act at the present virtual moment. Several replicas are several VirtualEngines advanced to the
same moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pools.simulator.engine import Engine, Step, StepResult
from pools.simulator.profile import EngineProfile
from pools.simulator.sequence import Sequence


class VirtualEngine:
    """An engine with its own virtual clock, in seconds."""

    def __init__(self, profile: EngineProfile, start: float = 0.0) -> None:
        self.engine = Engine(profile)
        self.now = start
        self._step: Step | None = None

    @property
    def next_event_at(self) -> float | None:
        """When the step under way ends; None when idle."""
        return None if self._step is None else self._step.ends_at

    def submit(self, sequence: Sequence) -> None:
        """Queue at the present moment; an idle engine begins at once."""
        self.engine.submit(sequence, self.now)
        self._begin()

    def abort(self, sequence: Sequence) -> None:
        """Abort at the present moment; the step under way still takes its time."""
        self.engine.abort(sequence.name, self.now)

    def advance(self, until: float) -> list[StepResult]:
        """Play to ``until`` (not before now) and return the results of the steps that ended by then, in order."""
        results = []
        while self._step is not None and self._step.ends_at <= until:
            self.now = self._step.ends_at
            results.append(self.engine.finish(self.now))
            self._step = None
            self._begin()
        self.now = max(self.now, until)
        return results

    def _begin(self) -> None:
        if self._step is None:
            self._step = self.engine.begin(self.now)


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: sequences running and waiting, KV share (0 to 1), and the counters so far."""

    at: float
    running: int
    waiting: int
    kv_usage: float
    prompt_tokens: int
    generation_tokens: int
    preemptions: int


@dataclass(slots=True)
class Run:
    """The sequences in order of arrival, with all their times, and samples at even spacing."""

    sequences: list[Sequence] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    @property
    def ended_at(self) -> float:
        """When the last sequence finished; 0 without any."""
        return max((sequence.finished_at or 0.0 for sequence in self.sequences), default=0.0)


def sample(virtual: VirtualEngine) -> Sample:
    """The engine's present figures."""
    engine, count = virtual.engine, virtual.engine.telemetry
    return Sample(
        virtual.now, len(engine.running), len(engine.waiting), engine.kv_usage,
        count.prompt_tokens, count.generation_tokens, count.preemptions,
    )  # fmt: skip


def run(
    profile: EngineProfile,
    arrivals: Iterable[tuple[float, Sequence]],
    *,
    sample_every_s: float = 1.0,
    longest_s: float = 86_400.0,
    on_step: Callable[[StepResult], None] | None = None,
) -> Run:
    """Submit each sequence at its time (seconds, ascending, from 0) and play until all are done or ``longest_s``.

    A sample is taken at every multiple of ``sample_every_s``. ValueError when a sequence can never fit.
    """
    virtual = VirtualEngine(profile)
    done = Run()
    ticks = 0

    def play(until: float) -> None:
        nonlocal ticks
        while (tick_at := (ticks + 1) * sample_every_s) <= until:
            _report(virtual.advance(tick_at), on_step)
            done.samples.append(sample(virtual))
            ticks += 1
        _report(virtual.advance(until), on_step)

    for at, sequence in arrivals:
        play(at)
        virtual.submit(sequence)
        done.sequences.append(sequence)
    while not virtual.engine.idle and virtual.now < longest_s:
        play((ticks + 1) * sample_every_s)
    return done


def _report(results: list[StepResult], on_step: Callable[[StepResult], None] | None) -> None:
    if on_step is not None:
        for result in results:
            on_step(result)
