"""The HTTP side of a simulated endpoint: vLLM's routes, and the faults tests ask for."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from pools.simulator import exposition, wire, words
from pools.simulator.answers import Answer, Choice
from pools.simulator.driver import Driver, Ticket
from pools.simulator.engine import StepResult
from pools.simulator.profile import EngineProfile
from pools.simulator.sequence import FinishReason, Sequence
from pools.simulator.wire import Ask, Prompt, WireError
from portal.lib import clock

LARGEST_BODY = 32 * 1024 * 1024
EMBEDDING_SIZE = 64
CRASH_STATUS = 70
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on purpose. Shares are 0 to 1, counts are generated tokens; None = never."""

    fail_rate: float = 0.0
    crash_after: int | None = None
    stall_after: int | None = None
    hang: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """What is served: model names (the first is shown), tokenizer ratio, answer lengths, faults."""

    models: tuple[str, ...] = ("sim-8b",)
    bytes_per_token: float = 3.6
    median_output_tokens: float = 120.0
    seed: int = 0
    old_metric_names: bool = False
    faults: Faults = Faults()


class Server:
    """One endpoint. ``ready`` turns true when its cold start is over, ``draining`` when it takes nothing new."""

    def __init__(self, profile: EngineProfile, served: Served) -> None:
        self.served = served
        self.driver = Driver(profile, self._after_step)
        self.ready = False
        self.draining = False
        self._count = 0
        self._dice = random.Random(served.seed)

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._guard])
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/v1/embeddings", self.embeddings)
        app.router.add_post("/tokenize", self.tokenize)
        return app

    async def health(self, _request: web.Request) -> web.Response:
        """200 when requests are taken; the guard answers 503 before that."""
        return web.Response()

    async def metrics(self, _request: web.Request) -> web.Response:
        """Prometheus text."""
        text = exposition.render(self.driver.engine, self.served.models[0], old_names=self.served.old_metric_names)
        return web.Response(text=text, content_type="text/plain")

    async def models(self, _request: web.Request) -> web.Response:
        """The served model names."""
        context = self.driver.engine.profile.context_tokens
        return _json(
            {
                "object": "list",
                "data": [
                    {"id": name, "object": "model", "created": 0, "owned_by": "simulator", "max_model_len": context}
                    for name in self.served.models
                ],
            }
        )

    async def tokenize(self, request: web.Request) -> web.Response:
        """Token count of a prompt or of messages."""
        body = wire.read_body(await request.read())
        wire.check_model(body, self.served.models)
        ratio = self.served.bytes_per_token
        if "messages" in body:
            count = wire.read_ask(body, {}, chat=True, bytes_per_token=ratio).prompts[0].tokens
        else:
            count = sum(prompt.tokens for prompt in wire.texts(body.get("prompt"), "prompt", ratio))
        context = self.driver.engine.profile.context_tokens
        return _json({"count": count, "max_model_len": context, "tokens": list(range(count))})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Chat completions."""
        return await self._generate(request, chat=True)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Plain completions."""
        return await self._generate(request, chat=False)

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        """A meaningless unit-range vector per input, after its prefill (counted by the engine as one token)."""
        body = wire.read_body(await request.read())
        wire.check_model(body, self.served.models)
        prompts = wire.texts(body.get("input"), "input", self.served.bytes_per_token)
        await self._misbehave()
        tickets = self._submit_all([self._sequence(prompt, 1, FinishReason.STOP) for prompt in prompts])
        try:
            for ticket in tickets:
                await ticket.more(0)
        finally:
            self._abort_all(tickets)
        data = [
            {"object": "embedding", "index": index, "embedding": _vector(prompt, body.get("encoding_format"))}
            for index, prompt in enumerate(prompts)
        ]
        used = sum(prompt.tokens for prompt in prompts)
        usage = {"prompt_tokens": used, "total_tokens": used}
        return _json({"object": "list", "model": self.served.models[0], "data": data, "usage": usage})

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = wire.read_body(await request.read())
        wire.check_model(body, self.served.models)
        ask = wire.read_ask(body, request.headers, chat=chat, bytes_per_token=self.served.bytes_per_token)
        await self._misbehave()
        self._count += 1
        answer = Answer(
            name=f"{'chatcmpl' if chat else 'cmpl'}-{os.getpid():x}-{self._count:x}",
            model=str(body.get("model", self.served.models[0])),
            created=clock.now_ms() // 1000,
            ask=ask,
        )
        self._start(answer)
        try:
            if ask.stream:
                return await self._stream(request, answer)
            for choice in answer.choices:
                while choice.ticket.sequence.finish_reason is None:
                    await choice.ticket.more(choice.ticket.sequence.generated)
            return web.Response(body=answer.whole(), content_type="application/json")
        finally:
            self._abort_all([choice.ticket for choice in answer.choices])

    async def _stream(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
        await response.prepare(request)
        lock = asyncio.Lock()
        opening = answer.opening()

        async def follow(choice: Choice) -> None:
            nonlocal opening
            ended = False
            while not ended:
                await choice.ticket.more(choice.written)
                ended = choice.ticket.sequence.finish_reason is not None
                async with lock:
                    data, opening = opening + answer.tokens(choice), b""
                    await response.write(data + answer.closing(choice) if ended else data)

        if len(answer.choices) == 1:
            await follow(answer.choices[0])
        else:
            async with asyncio.TaskGroup() as group:
                for choice in answer.choices:
                    group.create_task(follow(choice))
        await response.write(answer.last())
        await response.write_eof()
        return response

    def _start(self, answer: Answer) -> None:
        """Submit every choice of every prompt, or none."""
        plans: list[tuple[Sequence, int, int | None]] = []
        for prompt in answer.ask.prompts:
            for number in range(answer.ask.choices):
                seed = words.seed_of(prompt.text, self.served.seed + number)
                length, reason, kept = self._plan(answer.ask, prompt, seed)
                plans.append((self._sequence(prompt, length, reason), seed, kept))
        tickets = self._submit_all([sequence for sequence, _seed, _kept in plans])
        answer.choices = [
            Choice(index, ticket, seed, kept)
            for index, (ticket, (_sequence, seed, kept)) in enumerate(zip(tickets, plans, strict=True))
        ]

    def _plan(self, ask: Ask, prompt: Prompt, seed: int) -> tuple[int, FinishReason, int | None]:
        """(tokens it will generate, why it then ends, characters kept). WireError 400 when it exceeds the context."""
        room = self.driver.engine.profile.largest_request_tokens - prompt.tokens
        limit = room if ask.max_tokens is None else ask.max_tokens
        if room < 1 or limit > room:
            context = room + prompt.tokens
            raise WireError(
                400,
                f"This model's maximum context length is {context} tokens. However, you requested "
                f"{prompt.tokens + max(1, limit)} tokens ({prompt.tokens} in the prompt, {max(1, limit)} in the "
                f"completion). Please reduce the length of the prompt or completion.",
                "messages" if ask.chat else "prompt",
            )
        natural = words.drawn_length(seed, self.served.median_output_tokens) if ask.length is None else ask.length
        natural = limit + 1 if ask.ignore_eos else max(natural, ask.min_tokens)
        length = min(limit, natural)
        stopped, kept = words.stop_after(seed, length, ask.stops)
        natural_end = natural <= limit or kept is not None
        return stopped, FinishReason.STOP if natural_end else FinishReason.LENGTH, kept

    def _sequence(self, prompt: Prompt, length: int, reason: FinishReason) -> Sequence:
        size = self.driver.engine.profile.block_tokens
        keys = words.prefix_keys(prompt.text, prompt.tokens, self.served.bytes_per_token, size)
        self._count += 1
        return Sequence(self._count, prompt.tokens, length, reason, keys)

    def _submit_all(self, sequences: list[Sequence]) -> list[Ticket]:
        largest = self.driver.engine.profile.largest_request_tokens
        for sequence in sequences:
            if sequence.input_tokens + sequence.output_tokens > largest:
                raise WireError(
                    400, f"The input has {sequence.input_tokens} tokens; at most {largest - 1} fit.", "input"
                )
        return [self.driver.submit(sequence) for sequence in sequences]

    def _abort_all(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            self.driver.abort(ticket)

    async def _misbehave(self) -> None:
        faults = self.served.faults
        if faults.hang:
            await asyncio.Event().wait()
        if faults.fail_rate and self._dice.random() < faults.fail_rate:
            raise WireError(500, "A simulated failure.", None, "InternalServerError")

    def _after_step(self, _result: StepResult) -> None:
        faults, generated = self.served.faults, self.driver.engine.telemetry.generation_tokens
        if faults.crash_after is not None and generated >= faults.crash_after:
            os._exit(CRASH_STATUS)
        if faults.stall_after is not None and generated >= faults.stall_after:
            self.driver.stalled = True

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """503 before the cold start is over and, for new work, while draining; every error in OpenAI's shape."""
        try:
            if not self.ready:
                raise WireError(503, "The model is still loading.", None, "ServiceUnavailableError")
            if self.draining and (request.method == "POST" or request.path == "/health"):
                raise WireError(503, "The server is draining.", None, "ServiceUnavailableError")
            return await handler(request)
        except WireError as error:
            return web.Response(status=error.status, body=error.body(), content_type="application/json")
        except web.HTTPException as error:
            kind = "NotFoundError" if error.status == 404 else "BadRequestError"
            body = WireError(error.status, error.reason, None, kind).body()
            return web.Response(status=error.status, body=body, content_type="application/json")


def _json(data: object) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")


def _vector(prompt: Prompt, encoding: object) -> list[float] | str:
    dice = random.Random(words.seed_of(prompt.text))
    values = [dice.uniform(-1, 1) for _ in range(EMBEDDING_SIZE)]
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{EMBEDDING_SIZE}f", *values)).decode()
    return values
