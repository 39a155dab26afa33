"""The scheduler: table cases of one step, exhaustion, preemption, and what must hold after any interleaving."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.simulator.engine import Engine
from pools.simulator.profile import EngineProfile, StepCosts
from pools.simulator.sequence import FinishReason, Phase, Sequence
from pools.simulator.virtual import VirtualEngine, run

COSTS = StepCosts(base_s=0.1, per_sequence_s=0.01, prefill_tokens_per_s=1000)
SMALL = EngineProfile(
    max_num_seqs=4, max_num_batched_tokens=64, block_tokens=4, num_gpu_blocks=16, context_tokens=64, costs=COSTS
)


def step(engine: Engine, now: float) -> float:
    """One whole step; when it ended."""
    plan = engine.begin(now)
    assert plan is not None
    engine.finish(plan.ends_at)
    return plan.ends_at


@pytest.mark.parametrize(
    ("decoding", "prefill", "context", "seconds"),
    [(0, 0, 0, 0.0), (0, 500, 0, 0.5), (1, 0, 0, 0.11), (8, 0, 0, 0.18), (8, 100, 0, 0.28), (2, 0, 1000, 0.22)],
)
def test_a_step_takes_as_long_as_its_costs_say(decoding: int, prefill: int, context: int, seconds: float) -> None:
    costs = replace(COSTS, per_context_token_s=0.0001)
    assert costs.seconds(decoding, prefill, context) == pytest.approx(seconds)


def test_first_token_after_the_prefill_then_one_per_step() -> None:
    engine = Engine(SMALL)
    sequence = Sequence("a", input_tokens=10, output_tokens=3)
    engine.submit(sequence, 5.0)
    at = step(engine, 5.0)
    assert at == pytest.approx(5.01)  # 10 tokens at 1000/s
    assert (sequence.generated, sequence.first_token_at) == (1, at)
    at = step(engine, at)
    assert at == pytest.approx(5.12)  # base + one sequence
    step(engine, at)
    assert (sequence.phase, sequence.finish_reason) == (Phase.FINISHED, FinishReason.LENGTH)
    assert engine.idle
    assert engine.blocks.used == 0
    assert engine.begin(9.0) is None


def test_a_long_prompt_is_computed_in_chunks_beside_running_decodes() -> None:
    engine = Engine(replace(SMALL, max_num_batched_tokens=8))
    engine.submit(Sequence("a", 4, 10), 0.0)
    at = step(engine, 0.0)
    engine.submit(Sequence("b", 20, 1), at)
    chunks = []
    for _ in range(3):
        plan = engine.begin(at)
        assert plan is not None
        assert plan.decoding == 1
        chunks.append(plan.prefill_tokens)
        at = plan.ends_at
        engine.finish(at)
    assert chunks == [7, 7, 6]


def test_slots_are_a_limit_and_the_queue_keeps_its_order() -> None:
    engine = Engine(replace(SMALL, max_num_seqs=2))
    for name in "abc":
        engine.submit(Sequence(name, 4, 2), 0.0)
    step(engine, 0.0)
    assert [s.name for s in engine.running] == ["a", "b"]
    assert [s.name for s in engine.waiting] == ["c"]


def test_nobody_overtakes_a_prompt_that_does_not_fit_yet() -> None:
    engine = Engine(SMALL)
    engine.submit(Sequence("large", 50, 2), 0.0)
    at = step(engine, 0.0)
    engine.submit(Sequence("larger", 40, 2), at)
    engine.submit(Sequence("small", 4, 2), at)
    step(engine, at)
    assert [s.name for s in engine.waiting] == ["larger", "small"]


def test_exhaustion_preempts_the_youngest_which_later_goes_on_where_it_was() -> None:
    engine = Engine(replace(SMALL, num_gpu_blocks=4, prefix_caching=False))
    old, young = Sequence("old", 8, 8), Sequence("young", 8, 8)
    engine.submit(old, 0.0)
    engine.submit(young, 0.0)
    at = step(engine, 0.0)  # both hold two full blocks: no block is left
    plan = engine.begin(at)
    assert plan is not None
    assert [s.name for s in plan.preempted] == ["young"]
    assert (young.phase, young.generated, young.blocks) == (Phase.WAITING, 1, [])
    engine.finish(plan.ends_at)
    at = plan.ends_at
    while not engine.idle:
        at = step(engine, at)
    assert (old.generated, young.generated, young.preemptions) == (8, 8, 1)
    assert engine.telemetry.prompt_tokens == 16  # computed again, counted once
    assert engine.telemetry.preemptions == 1


def test_an_abort_frees_blocks_at_once_even_in_the_middle_of_a_step() -> None:
    engine = Engine(SMALL)
    engine.submit(Sequence("a", 10, 5), 0.0)
    engine.submit(Sequence("b", 10, 5), 0.0)
    plan = engine.begin(0.0)
    assert plan is not None
    gone = engine.abort("a", 0.005)
    assert gone is not None
    assert (gone.finish_reason, gone.generated) == (FinishReason.ABORT, 0)
    result = engine.finish(plan.ends_at)
    assert [s.name for s in result.emitted] == ["b"]
    assert engine.abort("a", 1.0) is None
    engine.abort("b", 1.0)
    assert engine.blocks.used == 0
    assert engine.telemetry.finished == {"stop": 0, "length": 0, "abort": 2}


def test_an_equal_beginning_is_computed_once() -> None:
    engine = Engine(SMALL)
    engine.submit(Sequence("a", 12, 1, prefix_keys=(1, 2, 3)), 0.0)
    at = step(engine, 0.0)
    again = Sequence("b", 12, 1, prefix_keys=(1, 2, 9))
    engine.submit(again, at)
    plan = engine.begin(at)
    assert plan is not None
    assert (again.cached, plan.prefill_tokens) == (8, 4)


def test_async_scheduling_makes_a_newcomer_wait_for_the_next_plan() -> None:
    engine = Engine(replace(SMALL, async_scheduling=True))
    engine.submit(Sequence("a", 4, 10), 0.0)
    first = engine.begin(0.0)
    assert first is not None
    engine.submit(Sequence("b", 4, 10), first.ends_at / 2)
    engine.finish(first.ends_at)
    second = engine.begin(first.ends_at)
    assert second is not None
    assert second.started == []
    engine.finish(second.ends_at)
    third = engine.begin(second.ends_at)
    assert third is not None
    assert [s.name for s in third.started] == ["b"]


@pytest.mark.parametrize(("tokens", "output"), [(60, 5), (0, 1), (1, 0)])
def test_what_can_never_run_is_refused(tokens: int, output: int) -> None:
    with pytest.raises(ValueError, match="token"):
        Engine(SMALL).submit(Sequence("a", tokens, output), 0.0)


def test_two_sequences_cannot_have_one_name() -> None:
    engine = Engine(SMALL)
    engine.submit(Sequence("a", 1, 1), 0.0)
    with pytest.raises(ValueError, match="already here"):
        engine.submit(Sequence("a", 1, 1), 0.0)


ARRIVALS = st.lists(
    st.tuples(st.floats(0, 3), st.integers(1, 40), st.integers(1, 24), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(rows=ARRIVALS, blocks=st.integers(16, 40), budget=st.integers(1, 64), caching=st.booleans(), full=st.booleans())
def test_conservation_after_any_interleaving(
    rows: list[tuple[float, int, int, int, bool]], blocks: int, budget: int, caching: bool, full: bool
) -> None:
    """Free + used = total; used = what the running hold; everybody ends with what it asked for, or aborted."""
    virtual = VirtualEngine(
        replace(
            SMALL,
            num_gpu_blocks=blocks,
            max_num_batched_tokens=budget,
            prefix_caching=caching,
            reserve_full_prompt=full,
        )
    )
    engine = virtual.engine
    everybody = []
    for number, (at, given_tokens, wanted, prefix, leaves) in enumerate(sorted(rows)):
        virtual.advance(at)
        sequence = Sequence(
            number, given_tokens, wanted, prefix_keys=tuple((prefix, i) for i in range(given_tokens // 4))
        )
        virtual.submit(sequence)
        everybody.append(sequence)
        if leaves:
            virtual.abort(everybody[number // 2])
        held = {block for running in engine.running for block in running.blocks}
        assert engine.blocks.free + engine.blocks.used == blocks
        assert len(held) == engine.blocks.used
        assert len(engine.running) <= SMALL.max_num_seqs
    virtual.advance(100_000.0)
    assert engine.idle
    assert engine.blocks.used == 0
    for sequence in everybody:
        assert sequence.finish_reason is not None
        if sequence.finish_reason is not FinishReason.ABORT:
            assert sequence.generated == sequence.output_tokens
    assert engine.telemetry.generation_tokens == sum(sequence.generated for sequence in everybody)
    assert sum(engine.telemetry.finished.values()) == len(everybody)


def test_virtual_time_gives_the_same_answer_every_time() -> None:
    def once() -> list[tuple[float | None, float | None]]:
        arrivals = ((index * 0.05, Sequence(index, 5 + index % 30, 1 + index % 20)) for index in range(80))
        done = run(SMALL, arrivals)
        return [(sequence.first_token_at, sequence.finished_at) for sequence in done.sequences]

    assert once() == once()


def test_samples_are_evenly_spaced_and_end_empty() -> None:
    done = run(SMALL, [(0.0, Sequence(0, 10, 20)), (0.5, Sequence(1, 10, 5))], sample_every_s=0.25)
    assert [sample.at for sample in done.samples] == [0.25 * (n + 1) for n in range(len(done.samples))]
    assert (done.samples[-1].running, done.samples[-1].kv_usage) == (0, 0.0)
    assert done.samples[-1].generation_tokens == 25


def test_a_full_demo_replica_makes_the_papers_240_tokens_per_second() -> None:
    done = run(EngineProfile(), ((0.0, Sequence(index, 64, 640)) for index in range(16)))
    assert done.samples[20].generation_tokens - done.samples[10].generation_tokens == pytest.approx(2400, rel=0.01)
