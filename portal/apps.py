"""App of the shell."""

from __future__ import annotations

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Makes every Django process know the Celery app: the System page reads its beat table."""

    name = "portal"

    def ready(self) -> None:
        """Called by Django once all apps are there."""
        import portal.celery  # noqa: F401
