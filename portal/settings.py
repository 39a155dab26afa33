"""The one settings file: everything that differs between installations comes from ``portal.env``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from portal import env

BASE_DIR = env.BASE_DIR
_values = env.read_all()
VAR_DIR = env.var_dir()
SECRET_KEY = env.secret_key()
DEBUG = _values["DEBUG"]
ALLOWED_HOSTS = _values["ALLOWED_HOSTS"]
CSRF_TRUSTED_ORIGINS = _values["TRUSTED_ORIGINS"]
REDIS_URL = env.redis_url()
MECHANISM_MODE = _values["MECHANISM_MODE"]
TICK_SHARDS = _values["TICK_SHARDS"]
ACCELERATOR_CEILING = _values["ACCELERATOR_CEILING"]
ACCELERATOR_HOUR_PRICE = _values["ACCELERATOR_HOUR_PRICE"]
SAMPLE_DAYS = _values["SAMPLE_DAYS"]
MINUTE_DAYS = _values["MINUTE_DAYS"]
HOUR_DAYS = _values["HOUR_DAYS"]
ALERT_DAYS = _values["ALERT_DAYS"]
JOB_DAYS = _values["JOB_DAYS"]
INVITATION_DAYS = _values["INVITATION_DAYS"]
CURRENCY = _values["CURRENCY"]
ALERT_PRIVATE_TARGETS = _values["ALERT_PRIVATE_TARGETS"]
GATEWAY_PORT = _values["GATEWAY_PORT"]
WEB_PORT = _values["WEB_PORT"]
BIND_ADDRESS = _values["BIND_ADDRESS"]
PORTAL_URL = env.portal_url()
GATEWAY_URL = env.gateway_url()
globals().update(env.email())  # EMAIL_BACKEND and what it needs

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "lucide",
    "channels",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.usersessions",
    "portal.accounts",
    "portal.audit",
    "portal.people",
    "pools",
    "billing",
    "portal.dashboards",
    "portal.live",
    "portal",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "portal.dashboards.middleware.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.people.middleware.Sessions",
    "portal.errors.DomainErrors",
    "portal.accounts.access.DenyByDefault",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
WSGI_APPLICATION = "portal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.dashboards.context.navigation",
            ],
        },
    }
]


LOCK_TIMEOUT = _values["LOCK_TIMEOUT"]


def _database(url: str, *, pooler: bool) -> dict[str, Any]:
    """Waiting for a lock ends after LOCK_TIMEOUT: said when we connect, or, to a pooler, in every transaction."""
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    pool = {"min_size": 1, "max_size": _values["DATABASE_POOL_SIZE"], "timeout": 5}
    if not pooler:
        bound = f"-c lock_timeout={round(LOCK_TIMEOUT * 1000)}"
        parts["options"] = f"{parts['options']} {bound}" if parts.get("options") else bound
    return {
        "ENGINE": "portal.lib.pooled" if pooler else "django.db.backends.postgresql",
        "DISABLE_SERVER_SIDE_CURSORS": pooler,
        "NAME": parts.pop("dbname", "app"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"pool": pool, "connect_timeout": 5, **parts},
    }


DATABASES = {"default": _database(env.database_url(), pooler=_values["DATABASE_POOLER"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Signing in: our pages on django-allauth's flows. Nobody signs up; people are invited or come by single sign-on.
ACCOUNT_ADAPTER = "portal.people.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # an address is proved by its invitation, or vouched for by single sign-on
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_REQUIRED = True
MFA_ADAPTER = "portal.people.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Token Pools"
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True
REQUIRE_MFA = _values["REQUIRE_MFA"]
OIDC = env.oidc()
SOCIALACCOUNT_ADAPTER = "portal.people.sso.adapter.SsoAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"

_QUICK = {"socket_connect_timeout": 2.0, "socket_timeout": 2.0}  # a store that is away is soon known to be
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "tp-cache",
        "OPTIONS": _QUICK,
    },
    "sessions": {
        "BACKEND": "portal.lib.caches.LenientRedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "tp-session",
        "OPTIONS": _QUICK,
    },
}
SESSION_CACHE_ALIAS = "sessions"
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _values["SECURE_COOKIES"]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "portal.errors.csrf_failure"

CHANNEL_LAYERS = {
    "default": {
        # Pub/sub layer: the core layer's blocking reads are cut by the client's default time-out (docs/decisions).
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "tp-live"},
    }
}

CELERY_BROKER_URL = env.broker_url()
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "tp-celery:", "visibility_timeout": 300, "socket_timeout": 30}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: the broker comes back
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 60  # prefork only; the locks of the tasks end by themselves in the same time
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "portal.beat:SteadyScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_TIMEZONE = "UTC"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "portal.dashboards.finders.PackageFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "portal.lib.statics.QuickStaticFilesStorage"},
}


def package_dir(name: str) -> Path:
    """The folder of an installed package, for the browser assets it carries."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name} is not installed; run: make install")
    return Path(spec.origin).parent


REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SPECTACULAR_SETTINGS = {"TITLE": "Token Pools", "VERSION": "1", "OAS_VERSION": "3.1.0", "SERVE_INCLUDE_SCHEMA": False}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _values["LOG_LEVEL"]},
    # The pool warns at every attempt while the server is away; our tasks say once that they wait.
    "loggers": {"psycopg.pool": {"level": "ERROR"}},
}
