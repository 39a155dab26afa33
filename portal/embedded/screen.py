"""What ``up`` says: a line for each step with its time, then one screen with everything one needs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from portal.embedded.programs import Place


class Screen:
    """Progress and results on a terminal, or plain lines in a file."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A spinner while it works, a line with the time when it is done; no line when it raises."""
        begun = time.monotonic()
        with self.console.status(f"{escape(what)} …"):
            yield
        self.console.print(f"[green]✔[/] {escape(what)} [dim]{time.monotonic() - begun:.1f} s[/]")

    def say(self, sentence: str) -> None:
        """One plain line."""
        self.console.print(f"[dim]·[/] {escape(sentence)}", soft_wrap=True)

    def serving(self, place: Place, demo: Mapping[str, str], seconds: float) -> None:
        """The one screen: URLs, logins, a request to try, how to stop."""
        grid = Table.grid(padding=(0, 2))
        grid.add_row("[bold]Portal[/]", place.web_url)
        grid.add_row("[bold]Gateway[/]", f"{place.gateway_url}/v1")
        for who in ("OPERATOR", "TENANT"):
            if login := demo.get(f"{who}_EMAIL"):
                grid.add_row(f"[bold]{who.title()}[/]", escape(f"{login}  /  {demo.get(f'{who}_PASSWORD', '')}"))
        grid.add_row("[bold]Logs[/]", escape(str(place.log_dir)))
        if "KEY_ELASTIC" in demo:
            grid.add_row("[bold]Keys[/]", escape(f"{place.var_dir}/demo.env"))
        grid.add_row("[bold]Stop[/]", "Ctrl-C (twice: at once); everything is kept")
        self.console.print(Panel(grid, title=f"Token Pools serves after {seconds:.1f} s", border_style="green"))
        if line := curl_line(place, demo):
            self.console.print(escape(line), soft_wrap=True)


def curl_line(place: Place, demo: Mapping[str, str]) -> str:
    """A request anybody can paste; "" without a demo key."""
    key = demo.get("KEY_ELASTIC")
    if not key:
        return ""
    model, hello = demo.get("MODEL", "chat-8b"), [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": model, "max_tokens": 32, "messages": hello})
    return (
        f"curl -s {place.gateway_url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
