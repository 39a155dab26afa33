"""The identity token, checked whole (OpenID Connect Core 3.1.3.7), and the groups it lists."""

from __future__ import annotations

import hmac
from typing import Any

import jwt

# Signatures by a private key only: never "none", never a shared secret that others may hold, too.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY_S = 60
MOST_GROUPS = 2000


class TokenError(Exception):
    """The token is not one to be trusted; the text says why, for the log."""


def verified_claims(token: str, *, keys: dict[str, Any], issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """The claims of a token whose signature, issuer, audience, times and nonce are right. Raises TokenError.

    ``keys`` is the issuer's JWK set; a token without a key id fits a set of one key.
    """
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise TokenError(f"signed by {header.get('alg')!r}")
        key = _key(keys, header)
        claims: dict[str, Any] = jwt.decode(
            token,
            key=key,
            algorithms=[header["alg"]],
            audience=client_id,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise TokenError(f"{type(error).__name__}: {error}") from error
    if not hmac.compare_digest(str(claims.get("nonce", "")), nonce):
        raise TokenError("the nonce is not the one of this sign-in")
    if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != client_id:
        raise TokenError("made for several audiences, not asked for by us")
    return claims


def _key(keys: dict[str, Any], header: dict[str, Any]) -> Any:
    found = [key for key in keys["keys"] if key.get("use", "sig") == "sig"]
    fit = [key for key in found if key.get("kid") == header.get("kid")]
    if not fit and "kid" not in header and len(found) == 1:
        fit = found
    if len(fit) != 1:
        raise TokenError(f"no key {header.get('kid')!r}")
    return jwt.PyJWK(fit[0], algorithm=header["alg"]).key


def groups_of(claims: dict[str, Any], path: str) -> set[str]:
    """The groups under a claim's name; dots descend. A single text counts as one group; anything else as none."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        found = [found]
    return {item for item in found[:MOST_GROUPS] if isinstance(item, str)} if isinstance(found, list) else set()
