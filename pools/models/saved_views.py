"""SavedView: the filter of a list under a name."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from portal.lib.clock import now


class SavedView(models.Model):
    """The query string of one page, kept by one person, optionally shown to all operators."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    page = models.CharField(max_length=40)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000, blank=True)
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "page", "name"], name="savedview_once")]

    def __str__(self) -> str:
        return self.name
