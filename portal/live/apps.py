"""App of portal.live."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    """Templates and static files of this room."""

    name = "portal.live"
