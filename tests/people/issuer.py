"""A tiny OpenID Connect issuer on loopback: discovery, keys, code flow with PKCE, signed tokens, userinfo."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET, KID = "token-pools", "a secret of the issuer", "key-1"


@dataclass
class Issuer:
    """What the issuer knows, and how it should misbehave."""

    address: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    twist: dict[str, Any] = field(default_factory=dict)  # claims of the token that replace the right ones
    sign_with: Any = None
    userinfo_sub: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def authorize(self, query: dict[str, str]) -> str:
        """The person says yes at once; where the browser goes next."""
        assert query["client_id"] == CLIENT_ID and query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(12)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str]) -> dict[str, Any] | None:
        """Tokens for a code, once, to whom holds the secret and the verifier."""
        query = self.codes.pop(form.get("code", ""), None)
        if query is None or (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return None
        digest = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        if digest.decode() != query["code_challenge"] or form.get("redirect_uri") != query["redirect_uri"]:
            return None
        moment = int(time.time())
        claims = {
            "iss": self.address,
            "aud": CLIENT_ID,
            "iat": moment,
            "exp": moment + 300,
            "nonce": query.get("nonce", ""),
            **self.person,
            **self.twist,
        }
        signed = jwt.encode(claims, self.sign_with or self.key, algorithm="RS256", headers={"kid": KID})
        return {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": signed}

    def keys(self) -> dict[str, Any]:
        """The public half."""
        found = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**found, "kid": KID, "use": "sig", "alg": "RS256"}]}

    def discovery(self) -> dict[str, Any]:
        """What a client needs to know."""
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "userinfo_endpoint": f"{self.address}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.issuer.authorize({k: v[0] for k, v in parse_qs(parts.query).items()}))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        pages = {"/.well-known/openid-configuration": self.issuer.discovery, "/keys": self.issuer.keys}
        if parts.path == "/userinfo":
            self._answer({**self.issuer.person, "sub": self.issuer.userinfo_sub or self.issuer.person["sub"]})
        elif parts.path in pages:
            self._answer(pages[parts.path]())
        else:
            self._answer({}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        made = self.issuer.token({k: v[0] for k, v in parse_qs(body).items()})
        self._answer(made or {"error": "invalid_grant"}, 200 if made else 400)

    def _answer(self, data: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def issuer() -> Iterator[Issuer]:
    """The issuer, serving on a free port of loopback."""
    made = Issuer()
    handler = type("Handler", (_Handler,), {"issuer": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
