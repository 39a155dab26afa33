"""``python -m pools.gateway``: settings from the environment, see docs/settings.md."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from portal.lib.errors import DomainError


def main() -> int:
    """Parses the command line, reads the settings, serves. 2 with one sentence when a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m pools.gateway", description="The OpenAI-compatible gateway.")
    parser.add_argument("--workers", type=int, help="processes (default: GATEWAY_WORKERS)")
    parser.add_argument("--host", help="address (default: BIND_ADDRESS)")
    parser.add_argument("--port", type=int, help="port (default: GATEWAY_PORT)")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    from pools.gateway.config import GatewayConfig
    from pools.gateway.server import run

    try:
        run(dataclasses.replace(GatewayConfig.from_environment(), **given))
    except DomainError as error:
        print(error.sentence, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
