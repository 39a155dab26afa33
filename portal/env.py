"""Every setting, read from the environment once and checked at start. ``docs/settings.md`` is compared with this table.

A wrong value stops the start with one sentence naming the key, the value seen and what is allowed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from portal.lib.errors import DomainError
from portal.lib.mail_url import mail_settings
from portal.lib.sockets import postgres_url, socket_folder, valkey_url

BASE_DIR = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: name, default text, kind ("str", "int", "float", "bool", "choice", "list"), meaning."""

    name: str
    default: str
    kind: str
    doc: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("DEBUG", "0", "bool", "Show error details in the browser. Never in production."),
    Setting(
        "SECRET_KEY",
        "",
        "str",
        "Signs sessions and peppers API-key digests. Empty: made once and kept in VAR_DIR.",
        secret=True,
    ),
    Setting("VAR_DIR", str(BASE_DIR / "var"), "str", "Where the embedded servers, logs and pid files live."),
    Setting("DATABASE_URL", "", "str", "PostgreSQL URL. Empty: the embedded PostgreSQL under VAR_DIR.", secret=True),
    Setting("REDIS_URL", "", "str", "Valkey or Redis URL. Empty: the embedded Valkey under VAR_DIR.", secret=True),
    Setting("DATABASE_POOL_SIZE", "8", "int", "Largest number of database connections per process.", low=1, high=200),
    Setting("LOCK_TIMEOUT", "10", "float", "Seconds a statement waits for a row somebody holds.", low=0.1, high=600),
    Setting(
        "DATABASE_POOLER",
        "0",
        "bool",
        "A pooler in transaction mode (PgBouncer) stands before PostgreSQL; see deploy.md.",
    ),
    Setting("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", "list", "Host names the portal answers to."),
    Setting(
        "TRUSTED_ORIGINS", "", "list", "Origins (scheme and host) that may post forms when a proxy stands in front."
    ),
    Setting(
        "SECURE_COOKIES", "0", "bool", "Send cookies over HTTPS only. Set it wherever the portal is served by HTTPS."
    ),
    Setting("WEB_PORT", "8000", "int", "Port of the portal.", low=1, high=65535),
    Setting("GATEWAY_PORT", "8001", "int", "Port of the gateway.", low=1, high=65535),
    Setting("BIND_ADDRESS", "127.0.0.1", "str", "Address the portal and the gateway listen on."),
    Setting("GATEWAY_WORKERS", "1", "int", "Gateway processes.", low=1, high=256),
    Setting("GATEWAY_BODY_LIMIT", "8388608", "int", "Largest request body in bytes.", low=1024, high=1 << 30),
    Setting("GATEWAY_HEADER_TIMEOUT", "10", "float", "Seconds a client may take to send headers.", low=0.1, high=600),
    Setting("GATEWAY_BODY_TIMEOUT", "30", "float", "Seconds a client may take to send its body.", low=0.1, high=3600),
    Setting("GATEWAY_CONNECT_TIMEOUT", "2", "float", "Seconds to connect to an endpoint.", low=0.1, high=60),
    Setting("GATEWAY_FIRST_BYTE_TIMEOUT", "120", "float", "Seconds until an endpoint answers.", low=0.1, high=3600),
    Setting("GATEWAY_IDLE_TIMEOUT", "60", "float", "Seconds an endpoint's stream may pause.", low=0.1, high=3600),
    Setting("GATEWAY_DRAIN", "30", "float", "Seconds streams may run on after SIGTERM.", low=0, high=3600),
    Setting("GATEWAY_DRAIN_DELAY", "0", "float", "Seconds to answer on, unready, after SIGTERM.", low=0, high=600),
    Setting("WORKER_CONCURRENCY", "4", "int", "Threads or processes of the Celery worker.", low=1, high=256),
    Setting(
        "PORTAL_URL",
        "",
        "str",
        "Address of the portal as people type it, for links in e-mails. Empty: http://localhost and WEB_PORT.",
    ),
    Setting(
        "GATEWAY_URL",
        "",
        "str",
        "Address of the gateway as clients reach it, shown on pages. Empty: http://localhost and GATEWAY_PORT.",
    ),
    Setting(
        "EMAIL_URL",
        "",
        "str",
        "smtp://user:password@host:587?tls=1, smtps://…, console: or file:/folder. Empty: files in VAR_DIR/mail.",
        secret=True,
    ),
    Setting("EMAIL_FROM", "Token Pools <token-pools@localhost>", "str", "Sender of every e-mail."),
    Setting(
        "REQUIRE_MFA",
        "none",
        "choice",
        "Who must have a second factor: none, operators (everybody with a platform role) or all.",
        ("none", "operators", "all"),
    ),
    Setting(
        "OIDC_ISSUER", "", "str", "Issuer of single sign-on by OpenID Connect, as its discovery document names it."
    ),
    Setting("OIDC_CLIENT_ID", "", "str", "Client id of this portal at the issuer."),
    Setting("OIDC_CLIENT_SECRET", "", "str", "Client secret of this portal at the issuer.", secret=True),
    Setting("OIDC_NAME", "single sign-on", "str", "What the button says after “Sign in with”."),
    Setting("OIDC_SCOPES", "openid,profile,email", "list", "Scopes asked for; add the one that brings groups."),
    Setting(
        "OIDC_GROUP_CLAIM", "groups", "str", "Claim that lists a person's groups; dots descend (realm_access.roles)."
    ),
    Setting(
        "OIDC_TRUST_EMAIL",
        "0",
        "bool",
        "Take every address the issuer names as verified, though it does not say email_verified.",
    ),
    Setting(
        "ALERT_PRIVATE_TARGETS",
        "0",
        "bool",
        "Let webhooks of alerts reach private and loopback addresses; only where every operator may reach them anyway.",
    ),
    Setting("DEMO", "1", "bool", "Fill an empty installation with a demo world and demo traffic."),
    Setting(
        "TICK_SHARDS",
        "1",
        "int",
        "Tasks that share the pools at each beat; more for thousands of pools.",
        low=1,
        high=256,
    ),
    Setting(
        "ACCELERATOR_CEILING",
        "0",
        "int",
        "Accelerators all pools together may use. 0: no ceiling.",
        low=0,
        high=10_000_000,
    ),
    Setting(
        "ACCELERATOR_HOUR_PRICE",
        "0",
        "float",
        "What one accelerator costs an hour, for the cost shown in previews. 0: unknown, hours are shown instead.",
        low=0,
        high=1_000_000,
    ),
    Setting("SAMPLE_DAYS", "3", "int", "Days the samples of every five seconds are kept.", low=2, high=3650),
    Setting("MINUTE_DAYS", "14", "int", "Days the history by the minute is kept.", low=8, high=3650),
    Setting("HOUR_DAYS", "400", "int", "Days the history by the hour is kept.", low=62, high=36500),
    Setting("ALERT_DAYS", "180", "int", "Days ended alerts and their messages are kept.", low=1, high=36500),
    Setting(
        "JOB_DAYS",
        "90",
        "int",
        "Days the results of an ended bulk job are kept, and so how long it can be undone.",
        low=1,
        high=36500,
    ),
    Setting("INVITATION_DAYS", "90", "int", "Days an invitation is kept after its link ended.", low=0, high=36500),
    Setting("CURRENCY", "EUR", "str", "The currency of all prices, as it is written beside them."),
    Setting(
        "MECHANISM_MODE",
        "strict",
        "choice",
        "strict, or paper for the literal formulas (comparison only).",
        ("strict", "paper"),
    ),
    Setting("LOG_LEVEL", "INFO", "choice", "How much is logged.", ("DEBUG", "INFO", "WARNING", "ERROR")),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}


def parse(setting: Setting, text: str) -> Any:
    """The typed value of a setting's text. Raises DomainError ``bad_setting`` naming key, value and what is allowed."""
    if setting.kind == "bool":
        lowered = text.strip().lower()
        if lowered in {"1", "true", "yes", "on"}:
            return True
        if lowered in {"0", "false", "no", "off", ""}:
            return False
        raise _bad(setting, text, "1, true, yes, on, 0, false, no or off")
    if setting.kind in {"int", "float"}:
        try:
            value = int(text) if setting.kind == "int" else float(text)
        except ValueError:
            raise _bad(setting, text, "a whole number" if setting.kind == "int" else "a number") from None
        if (setting.low is not None and value < setting.low) or (setting.high is not None and value > setting.high):
            raise _bad(setting, text, _span(setting))
        return value
    if setting.kind == "choice" and text not in setting.choices:
        raise _bad(setting, text, " or ".join(setting.choices))
    if setting.kind == "list":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _bad(setting: Setting, text: str, allowed: str) -> DomainError:
    seen = "(hidden)" if setting.secret else repr(text)
    return DomainError(
        "bad_setting", f"{setting.name} is {seen}; it must be {allowed}. Correct the environment and start again."
    )


def described(setting: Setting) -> tuple[str, str, str]:
    """Default, allowed values and meaning of a setting, as the guide's table shows them."""
    default = (
        "`var` beside manage.py" if setting.name == "VAR_DIR" else f"`{setting.default}`" if setting.default else "–"
    )
    texts = {"bool": "1 or 0", "str": "text", "list": "comma-separated", "choice": " or ".join(setting.choices)}
    number = ("whole number " if setting.kind == "int" else "number ") + _span(setting)
    return default, texts.get(setting.kind, number), setting.doc


def _span(setting: Setting) -> str:
    return f"{setting.low or 0:.12g} to {setting.high or 0:.12g}"


def read(name: str, environ: Mapping[str, str] | None = None) -> Any:
    """The value of one setting, from the environment or its default."""
    setting = BY_NAME[name]
    return parse(setting, (os.environ if environ is None else environ).get(name, setting.default))


def read_all(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every setting, parsed; the first wrong one raises."""
    return {setting.name: read(setting.name, environ) for setting in SETTINGS}


def var_dir(environ: Mapping[str, str] | None = None) -> Path:
    """VAR_DIR as an absolute path."""
    return Path(read("VAR_DIR", environ)).expanduser().resolve()


def database_url(environ: Mapping[str, str] | None = None) -> str:
    """DATABASE_URL, or the URL of the embedded PostgreSQL under VAR_DIR (whether it runs or not)."""
    given: str = read("DATABASE_URL", environ)
    if not given:
        return postgres_url(socket_folder(var_dir(environ)))
    if urlsplit(given).scheme not in {"postgres", "postgresql"}:
        raise _bad(BY_NAME["DATABASE_URL"], given, "a postgresql:// URL")
    return given


def redis_url(environ: Mapping[str, str] | None = None) -> str:
    """REDIS_URL, or the URL of the embedded Valkey under VAR_DIR (whether it runs or not)."""
    given: str = read("REDIS_URL", environ)
    if not given:
        return valkey_url(socket_folder(var_dir(environ)))
    if urlsplit(given).scheme not in {"redis", "rediss", "unix"}:
        raise _bad(BY_NAME["REDIS_URL"], given, "a redis://, rediss:// or unix:// URL")
    return given


def broker_url(environ: Mapping[str, str] | None = None) -> str:
    """The store of :func:`redis_url`, written as Celery's broker wants it (``redis+socket://`` for a socket)."""
    address = redis_url(environ)
    parts = urlsplit(address)
    if parts.scheme != "unix":
        return address
    return f"redis+socket://{parts.path}?virtual_host={parse_qs(parts.query).get('db', ['0'])[0]}"


def portal_url(environ: Mapping[str, str] | None = None) -> str:
    """PORTAL_URL without a slash at the end, or the local address."""
    return _address("PORTAL_URL", "WEB_PORT", environ)


def gateway_url(environ: Mapping[str, str] | None = None) -> str:
    """GATEWAY_URL without a slash at the end, or the local address."""
    return _address("GATEWAY_URL", "GATEWAY_PORT", environ)


def _address(name: str, port: str, environ: Mapping[str, str] | None) -> str:
    given: str = read(name, environ)
    if not given:
        return f"http://localhost:{read(port, environ)}"
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise _bad(BY_NAME[name], given, "an http:// or https:// address without a query")
    return given.rstrip("/")


def oidc(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What single sign-on needs, {} when it is not set up. Raises DomainError when only a part is."""
    given = {name: read(f"OIDC_{name}", environ) for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET")}
    if not any(given.values()):
        return {}
    for name, value in given.items():
        if not value:
            raise _bad(BY_NAME[f"OIDC_{name}"], "", "set, because another of the OIDC_ settings is")
    if urlsplit(given["ISSUER"]).scheme not in {"http", "https"}:
        raise _bad(BY_NAME["OIDC_ISSUER"], given["ISSUER"], "an https:// address")
    more = {name: read(f"OIDC_{name}", environ) for name in ("NAME", "SCOPES", "GROUP_CLAIM", "TRUST_EMAIL")}
    return {name.lower(): value for name, value in {**given, **more}.items()}


def email(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Django's e-mail settings from EMAIL_URL and EMAIL_FROM."""
    given: str = read("EMAIL_URL", environ)
    try:
        found = mail_settings(given, var_dir(environ) / "mail")
    except ValueError:
        allowed = "smtp://user:password@host:port?tls=1, smtps://user:password@host:port, console: or file:/folder"
        raise _bad(BY_NAME["EMAIL_URL"], given, allowed) from None
    return {**found, "DEFAULT_FROM_EMAIL": read("EMAIL_FROM", environ)}


def secret_key(environ: Mapping[str, str] | None = None) -> str:
    """SECRET_KEY, or the one made once and kept (mode 600) in VAR_DIR. Raises DomainError where it cannot be kept."""
    given: str = read("SECRET_KEY", environ)
    if given:
        return given
    path = var_dir(environ) / "secret_key"
    try:
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(48))
        return path.read_text().strip()
    except OSError as error:
        raise DomainError(
            "no_secret_key",
            f"SECRET_KEY is not set and {path} cannot be kept ({error.strerror}). Set SECRET_KEY or correct VAR_DIR.",
        ) from error


def _write_once(path: Path, text: str) -> None:
    """Writes a private file that is either whole or not there; the first of several writers wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text + "\n")
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
