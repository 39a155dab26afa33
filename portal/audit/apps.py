"""App of the audit trail."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Append-only records of every change."""

    name = "portal.audit"
    label = "audit"
