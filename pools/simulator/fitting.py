"""Find the step costs of a measured run: least squares on its series, then a short search with the engine itself.

Only the four numbers of :class:`StepCosts` are fitted. Every limit (blocks, batch, budget) comes from the run's own
configuration, and the scheduler's rules are not tuned at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pools.simulator.measured import Floats, MeasuredRun
from pools.simulator.profile import StepCosts
from pools.simulator.sequence import Sequence
from pools.simulator.virtual import Run, run

FITTED = ("base_s", "per_sequence_s", "per_context_token_s", "prefill_tokens_per_s")


def replay(measured: MeasuredRun, costs: StepCosts) -> Run:
    """Run the measured requests through the engine in virtual time, sampled as often as the measured series."""
    spacing = float(np.median(np.diff(measured.series["t"]))) if len(measured.series["t"]) > 1 else 1.0
    return run(
        replace(measured.profile, costs=costs),
        (
            (float(at), Sequence(index, int(given), int(wanted)))
            for index, (at, given, wanted) in enumerate(
                zip(measured.arrival_s, measured.input_tokens, measured.output_tokens, strict=True)
            )
        ),
        sample_every_s=spacing,
    )


def least_squares(measured: MeasuredRun) -> StepCosts:
    """Step costs from the series alone.

    In a second that only decodes, each running sequence gets one token per step, so the step took running / tokens per
    second = base + per_sequence x running + per_context x context. Seconds in which sequences start are left out,
    for hidden recomputation would look like slow decoding. What is then left of the seconds with prompt tokens gives
    the prompt rate.
    A cost that comes out negative is set to 0 and the others are fitted again.
    """
    series = measured.series
    running = (series["running"] + np.concatenate(([0.0], series["running"][:-1]))) / 2
    context = series["kv_cache_pct"] / 100 * measured.profile.kv_tokens
    fresh, rate = series["prompt_throughput"], series["gen_throughput"]
    falling = np.diff(series["running"], prepend=0.0) <= 0
    decoding = (fresh == 0) & (rate > 0) & (running >= 1) & falling
    if decoding.sum() < 8:
        return StepCosts(base_s=float(np.median(measured.tpot_s)), prefill_tokens_per_s=10_000.0)
    matrix = np.stack([np.ones(decoding.sum()), running[decoding], context[decoding]], axis=1)
    base, per_sequence, per_context = _non_negative(matrix, running[decoding] / rate[decoding])
    filling = (fresh > 0) & (running >= 1)
    steps = rate / np.maximum(running, 1)
    left = 1 - steps * (base + per_sequence * running + per_context * context)
    usable = filling & (left > 0.1)
    spent = float((left[usable] * fresh[usable]).sum())
    prefill = float((fresh[usable] ** 2).sum()) / spent if spent > 0 else 10_000.0
    return StepCosts(base, per_sequence, prefill, per_context)


def refine(
    measured: MeasuredRun, start: StepCosts, *, trials: int = 60, progress: Callable[[int], None] | None = None
) -> StepCosts:
    """Lower :func:`distance` from ``start`` by a simplex search of at most ``trials`` virtual runs."""
    floor = (1e-4, 1e-6, 1e-9, 100.0)
    origin = np.array([max(getattr(start, name), least) for name, least in zip(FITTED, floor, strict=True)])
    count = 0

    def costs_at(point: Floats) -> StepCosts:
        return replace(start, **dict(zip(FITTED, (origin * np.exp(point)).tolist(), strict=True)))

    def loss(point: Floats) -> float:
        nonlocal count
        count += 1
        if progress is not None:
            progress(count)
        # A weak pull to the least-squares values keeps costs apart that the run itself cannot tell apart.
        return distance(measured, replay(measured, costs_at(point))) + 0.002 * float((point**2).sum())

    return costs_at(_simplex(loss, np.zeros(len(FITTED)), trials))


def distance(measured: MeasuredRun, model: Run) -> float:
    """How far a model run is from the measured one: the mean of relative errors, 0 is perfect.

    TTFT quantiles, time per output token, duration, and the trajectories of running, waiting and tokens per second.
    """
    ttft = np.array([sequence.ttft_s or 0.0 for sequence in model.sequences])
    points = [10, 25, 50, 75, 90, 99]
    quantile, wanted = np.percentile(ttft, points), np.percentile(measured.ttft_s, points)
    parts = [float(np.abs(quantile - wanted).mean() / max(0.05, wanted.mean()))]
    parts.append(abs(_end(model) / measured.duration_s - 1))
    parts.append(abs(float(tpot(model).mean() / max(1e-6, measured.tpot_s.mean())) - 1))
    for name, values in trajectories(model, len(measured.series["t"])).items():
        real = measured.series[name]
        parts.append(0.5 * float(np.abs(values - real).mean() / max(1.0, np.abs(real).mean())))
    return float(np.mean(parts))


def tpot(model: Run) -> Floats:
    """Seconds per output token after the first, one value per sequence."""
    return np.array(
        [
            ((sequence.last_token_at or 0.0) - (sequence.first_token_at or 0.0)) / max(1, sequence.generated - 1)
            for sequence in model.sequences
        ]
    )


def trajectories(model: Run, length: int) -> dict[str, Floats]:
    """The model's series under the measured names, cut or padded with its last state to ``length`` samples."""
    spacing = model.samples[0].at if model.samples else 1.0
    generated = np.diff([0, *(sample.generation_tokens for sample in model.samples)]) / spacing
    rows = {
        "running": np.array([sample.running for sample in model.samples], dtype=float),
        "waiting": np.array([sample.waiting for sample in model.samples], dtype=float),
        "kv_cache_pct": np.array([100 * sample.kv_usage for sample in model.samples]),
        "gen_throughput": generated,
    }
    return {
        name: np.concatenate((values, np.zeros(max(0, length - len(values)))))[:length] for name, values in rows.items()
    }


def _end(model: Run) -> float:
    return model.ended_at - min((sequence.queued_at or 0.0 for sequence in model.sequences), default=0.0)


def _non_negative(matrix: Floats, wanted: Floats) -> list[float]:
    keep = list(range(matrix.shape[1]))
    while True:
        solution = np.linalg.lstsq(matrix[:, keep], wanted, rcond=None)[0]
        if (solution >= 0).all() or len(keep) == 1:
            result = [0.0] * matrix.shape[1]
            for index, value in zip(keep, solution, strict=True):
                result[index] = max(0.0, float(value))
            return result
        keep.pop(int(np.argmin(solution * np.abs(matrix[:, keep]).mean(axis=0))))


def _simplex(loss: Callable[[Floats], float], start: Floats, trials: int) -> Floats:
    """Nelder and Mead's downhill simplex, at most ``trials`` evaluations; returns the best point seen."""
    points = [start, *(start + 0.12 * axis for axis in np.eye(len(start)))]
    scored = sorted(((loss(point), point) for point in points), key=lambda pair: pair[0])
    used = len(points)
    while used + 2 <= trials:
        centre = np.mean([point for _score, point in scored[:-1]], axis=0)
        worst_score, worst = scored[-1]
        mirrored = 2 * centre - worst
        score = loss(mirrored)
        used += 1
        if score < scored[0][0]:
            further = centre + 2 * (centre - worst)
            candidates = [(score, mirrored), (loss(further), further)]
        elif score < scored[-2][0]:
            candidates = [(score, mirrored)]
        else:
            inside = centre + 0.5 * ((mirrored if score < worst_score else worst) - centre)
            candidates = [(score, mirrored), (worst_score, worst), (loss(inside), inside)]
        used += len(candidates) > 1
        best = min(candidates, key=lambda pair: pair[0])
        if best[0] >= worst_score:
            scored = [scored[0]] + [
                (loss(point), point) for point in ((scored[0][1] + other) / 2 for _s, other in scored[1:])
            ]
            used += len(start)
        else:
            scored[-1] = best
        scored.sort(key=lambda pair: pair[0])
    return scored[0][1]
