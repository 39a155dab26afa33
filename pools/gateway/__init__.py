"""The OpenAI-compatible data plane: a raw ASGI application that never touches PostgreSQL or the ORM.

One request walks through these files, in this order::

    server.py     cork.py: uvicorn with a guarded protocol (header time-out and size), workers
    app.py        gateway.py: paths, start and stop, SIGTERM; the steps of one request
    body.py       reads the body: size limit, time-out
    parse.py      fields.py: JSON to an InferenceRequest, wrong input to a sentence
    keys.py       API key to what it may use (half a second of local cache)
    routes.py     pool to its endpoints; the ready one with most free room
    estimate.py   prompt bytes to tokens, the cost of the request, the context check
    admission.py  hold.py: reserve, wait a moment for a release where the tier allows it, fail open or closed
    relay.py      exchange.py, upstream.py, sse.py: forwards to the endpoint and streams back
    settling.py   settles in every ending, again later when the store was away
    live.py       what runs now: evictions, heartbeats, draining
    wire.py       OpenAI error bodies and every header
    metrics.py    what Prometheus reads
"""
