"""A continuous-batching inference engine without a clock: the caller says what time it is.

One step = :meth:`Engine.begin` (schedule, and learn how long the step takes) and :meth:`Engine.finish` (its tokens
exist). In real time (``driver``) the caller sleeps in between; in virtual time (``virtual``) it adds the duration.
Same arrivals, same profile: same result, to the last bit.

The schedule is that of vLLM V1: running sequences first, in order of arrival, each getting its next token or the next
chunk of its prompt within ``max_num_batched_tokens``; a sequence that cannot get a block preempts the youngest running
one, which gives back all its blocks, goes to the head of the waiting queue and is computed again later; then, if nobody
was preempted, waiting sequences in order (FCFS, no overtaking) while slots, budget and blocks last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import islice

from pools.simulator.blocks import BlockPool
from pools.simulator.profile import EngineProfile
from pools.simulator.sequence import FinishReason, Phase, Sequence
from pools.simulator.telemetry import Telemetry


@dataclass(slots=True)
class Step:
    """A step under way: what it computes and how long it takes (seconds)."""

    began_at: float
    duration_s: float = 0.0
    decoding: int = 0
    prefill_tokens: int = 0
    context_tokens: int = 0
    work: list[tuple[Sequence, int]] = field(default_factory=list)
    started: list[Sequence] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)

    @property
    def ends_at(self) -> float:
        """When its tokens exist."""
        return self.began_at + self.duration_s


@dataclass(slots=True)
class StepResult:
    """What a step brought: sequences that got a token (``first`` among them their first), and those that ended."""

    ended_at: float
    emitted: list[Sequence] = field(default_factory=list)
    first: list[Sequence] = field(default_factory=list)
    finished: list[Sequence] = field(default_factory=list)


class Engine:
    """The scheduler, the KV blocks and the counters of one replica."""

    def __init__(self, profile: EngineProfile) -> None:
        self.profile = profile
        self.blocks = BlockPool(profile.num_gpu_blocks)
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.telemetry = Telemetry()
        self._by_name: dict[Hashable, Sequence] = {}
        self._step: Step | None = None
        self._serial = 0
        self._planned_until = float("inf")

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self.running and not self.waiting

    @property
    def kv_usage(self) -> float:
        """Share of the KV blocks in use, 0 to 1."""
        return self.blocks.usage

    def submit(self, sequence: Sequence, now: float) -> None:
        """Queue a new sequence. ValueError when its name is in use or it could never fit."""
        if sequence.name in self._by_name:
            raise ValueError(f"a sequence named {sequence.name!r} is already here")
        if sequence.input_tokens < 1 or sequence.output_tokens < 1:
            raise ValueError("a sequence has at least one prompt token and one output token")
        wanted, largest = sequence.input_tokens + sequence.output_tokens, self.profile.largest_request_tokens
        if wanted > largest:
            raise ValueError(f"{wanted} tokens asked for, at most {largest} fit")
        self._serial += 1
        sequence.serial = self._serial
        sequence.queued_at = now
        sequence.phase = Phase.WAITING
        self._by_name[sequence.name] = sequence
        self.waiting.append(sequence)

    def abort(self, name: Hashable, now: float) -> Sequence | None:
        """End a sequence at once and free its blocks; its token of the step under way is lost. None if unknown."""
        sequence = self._by_name.get(name)
        if sequence is None:
            return None
        if sequence.phase is Phase.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._end(sequence, FinishReason.ABORT, now)
        return sequence

    def begin(self, now: float) -> Step | None:
        """Schedule the next step; None when there is nothing to do. RuntimeError while a step is under way."""
        if self._step is not None:
            raise RuntimeError("the step under way must be finished first")
        if self.idle:
            self._planned_until = float("inf")
            return None
        step = Step(began_at=now)
        budget = self._schedule_running(step)
        if not step.preempted:
            self._schedule_waiting(step, budget, now)
        if not step.work:
            return None
        step.duration_s = self.profile.costs.seconds(step.decoding, step.prefill_tokens, step.context_tokens)
        self._planned_until = now if self.profile.async_scheduling else float("inf")
        self._step = step
        return step

    def finish(self, now: float) -> StepResult:
        """The step under way is done at ``now``: advance its sequences. RuntimeError when none is."""
        step, self._step = self._step, None
        if step is None:
            raise RuntimeError("no step is under way")
        result = StepResult(ended_at=now)
        for sequence, count in step.work:
            if sequence.phase is not Phase.RUNNING:
                continue
            sequence.computed += count
            self._publish(sequence)
            if sequence.computed == sequence.tokens:
                self._emit(sequence, result, now)
        if result.finished:
            self.running = [sequence for sequence in self.running if sequence.phase is Phase.RUNNING]
        self.telemetry.steps += 1
        return result

    def _schedule_running(self, step: Step) -> int:
        budget = self.profile.max_num_batched_tokens
        index = 0
        while index < len(self.running) and budget > 0:
            sequence = self.running[index]
            count = min(sequence.tokens - sequence.computed, budget)
            if not self._make_room(sequence, count, step):
                break
            self._add(step, sequence, count)
            budget -= count
            index += 1
        return budget

    def _make_room(self, sequence: Sequence, count: int, step: Step) -> bool:
        """Blocks for ``count`` more tokens, preempting from the youngest; False when the sequence itself had to go."""
        wanted = -(-(sequence.computed + count) // self.profile.block_tokens) - len(sequence.blocks)
        if wanted <= 0:
            return True
        while (fresh := self.blocks.take(wanted)) is None:
            victim = self.running.pop()
            self._preempt(victim, step)
            if victim is sequence:
                return False
        sequence.blocks += fresh
        return True

    def _preempt(self, victim: Sequence, step: Step) -> None:
        self._free(victim)
        victim.phase = Phase.WAITING
        victim.computed = 0
        victim.preemptions += 1
        self.waiting.appendleft(victim)
        step.preempted.append(victim)
        self.telemetry.preemptions += 1

    def _schedule_waiting(self, step: Step, budget: int, now: float) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.profile.max_num_seqs:
            sequence = self.waiting[0]
            if sequence.queued_at is not None and sequence.queued_at > self._planned_until:
                break
            count = self._start(sequence, budget)
            if not count:
                break
            self.waiting.popleft()
            self.running.append(sequence)
            sequence.phase = Phase.RUNNING
            if sequence.scheduled_at is None:
                sequence.scheduled_at = now
                sequence.cached = sequence.computed
            step.started.append(sequence)
            self._add(step, sequence, count)
            budget -= count

    def _start(self, sequence: Sequence, budget: int) -> int:
        """Give a waiting sequence its first blocks; the tokens it computes in this step, 0 when there is no room."""
        size = self.profile.block_tokens
        hits: list[int] = []
        if self.profile.prefix_caching:
            whole = (sequence.tokens - 1) // size  # the last token is always computed: it yields the next one
            hits = self.blocks.find(sequence.block_key(index) for index in range(whole))
        have = len(hits) * size
        count = min(sequence.tokens - have, budget)
        reach = sequence.tokens if self.profile.reserve_full_prompt else have + count
        spare = self.blocks.free - sum(self.blocks.is_free(block) for block in hits)
        if -(-reach // size) - len(hits) > spare:
            return 0
        self.blocks.share(hits)
        fresh = self.blocks.take(-(-(have + count) // size) - len(hits))
        assert fresh is not None
        sequence.blocks = hits + fresh
        sequence.computed, sequence.published = have, len(hits)
        return count

    def _add(self, step: Step, sequence: Sequence, count: int) -> None:
        step.work.append((sequence, count))
        if count == 1 and sequence.generated and sequence.computed + 1 == sequence.tokens:
            step.decoding += 1
            step.context_tokens += sequence.computed
        else:
            step.prefill_tokens += count

    def _publish(self, sequence: Sequence) -> None:
        whole = sequence.computed // self.profile.block_tokens
        if self.profile.prefix_caching and whole > sequence.published:
            first = sequence.published
            for index, block in enumerate(islice(sequence.blocks, first, whole), first):
                self.blocks.publish(block, sequence.block_key(index))
            sequence.published = whole

    def _emit(self, sequence: Sequence, result: StepResult, now: float) -> None:
        sequence.generated += 1
        result.emitted.append(sequence)
        if sequence.first_token_at is None:
            sequence.first_token_at = now
            result.first.append(sequence)
            self.telemetry.first_token(sequence.input_tokens, max(0.0, sequence.ttft_s or 0.0), sequence.cached)
        elif sequence.last_token_at is not None:
            self.telemetry.next_token(now - sequence.last_token_at)
        sequence.last_token_at = now
        if sequence.generated >= sequence.output_tokens:
            self._end(sequence, sequence.reason, now)
            result.finished.append(sequence)

    def _end(self, sequence: Sequence, reason: FinishReason, now: float) -> None:
        self._free(sequence)
        sequence.phase = Phase.FINISHED
        sequence.finished_at, sequence.finish_reason = now, reason
        del self._by_name[sequence.name]
        self.telemetry.finished[reason.value] += 1

    def _free(self, sequence: Sequence) -> None:
        self.blocks.give_back(sequence.blocks)
        sequence.blocks = []
        sequence.published = 0
