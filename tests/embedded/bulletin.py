"""Little programs that report to their test over a datagram socket: the test waits for news, it never sleeps."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

HELLO = """
import os, signal, socket, subprocess, sys
post = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
post.connect(sys.argv[1])
def say(word):
    post.send(f"{sys.argv[2]} {word} {os.getpid()}".encode())
"""
PATIENT = HELLO + "say('up')\ntry:\n    signal.pause()\nfinally:\n    say('interrupted')\n"
POLITE = HELLO + (
    "def bye(*_):\n    say('bye')\n    sys.exit(0)\nsignal.signal(signal.SIGTERM, bye)\nsay('up')\nsignal.pause()\n"
)
STUBBORN = HELLO + (
    "for n in (signal.SIGTERM, signal.SIGINT): signal.signal(n, lambda *_: say('no'))\n"
    "say('up')\nwhile True: signal.pause()\n"
)
CRASHING = HELLO + "say('up')\nsys.exit(3)\n"
PARENT = HELLO + (
    "child = subprocess.Popen([sys.executable, '-S', '-c', sys.argv[3], sys.argv[1], 'child'])\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nsay('up')\nsignal.pause()\n"
)


@dataclass
class Bulletin:
    """The socket the programs report to. Messages are (name, word, pid); those not waited for are kept."""

    path: Path
    news: list[tuple[str, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.post = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.post.bind(str(self.path))

    def expect(self, name: str, word: str, timeout_s: float = 15.0) -> int:
        """Waits for a message and returns the pid in it."""
        self.post.settimeout(timeout_s)
        while True:
            for item in self.news:
                if item[:2] == (name, word):
                    self.news.remove(item)
                    return item[2]
            said = self.post.recv(200).decode().split()
            self.news.append((said[0], said[1], int(said[2])))

    def program(self, name: str, source: str, *more: str) -> tuple[str, ...]:
        """The command line of a program that reports here."""
        return (sys.executable, "-S", "-c", source, str(self.path), name, *more)
