"""Which addresses a webhook may reach: public ones. Whoever may write a URL into a form must not reach through the
portal into its own network (server-side request forgery), not by a name that points there, nor an address in disguise.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_EMBEDS_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
LONGEST_URL = 500


def url_problem(url: str, *, private: bool) -> str:
    """Why a URL is no target, "" when it may be one. Names are only known to be public once they are looked up."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "This is not an address; write one such as https://hooks.example.org/token-pools."
    if parts.scheme not in {"http", "https"} or not host:
        return "Write an http:// or https:// address such as https://hooks.example.org/token-pools."
    if parts.username or parts.password:
        return "Leave user and password out of the address: it is shown on pages. The signature proves who sends."
    if len(url) > LONGEST_URL or any(ord(letter) <= 32 for letter in url) or port == 0:
        return f"The address is too long (at most {LONGEST_URL}) or has a blank in it."
    literal = literal_address(host)
    if not private and ((literal is not None and not is_public(literal)) or _is_local_name(host)):
        return f"{host} is a private or local address; webhooks go to public ones (see ALERT_PRIVATE_TARGETS)."
    return ""


def literal_address(host: str) -> Address | None:
    """The address a host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, looked at through every disguise of IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and any(address in network for network in _EMBEDS_IPV4):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None and not is_public(inner):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_local_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))
