"""A websocket client straight onto the ASGI application, without a server in between."""

from __future__ import annotations

from typing import Any

from asgiref.testing import ApplicationCommunicator


class BrowserSocket(ApplicationCommunicator):
    """Connect, receive, disconnect, as a browser does."""

    def __init__(self, application: Any, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(
            application,
            {
                "type": "websocket",
                "path": path,
                "query_string": b"",
                "headers": headers,
                "subprotocols": [],
                "state": {},
            },
        )

    async def connect(self) -> tuple[bool, int | None]:
        """(accepted, close code)."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(5)
        if answer["type"] == "websocket.accept":
            return True, None
        await self.disconnect()  # a server says so after a refusal, and the application waits to hear it
        return False, answer.get("code")

    async def receive_from(self) -> str:
        """The next text."""
        answer = await self.receive_output(5)
        assert answer["type"] == "websocket.send", answer
        return str(answer["text"])

    async def send_to(self, text: str) -> None:
        """A text from the browser."""
        await self.send_input({"type": "websocket.receive", "text": text})

    async def disconnect(self) -> None:
        """The page is closed."""
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(5)
