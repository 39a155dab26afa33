"""The back office shows nothing of django-allauth: its own admin pages would change credentials without a record."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin

for _config in list(apps.get_app_configs()):
    if _config.name.startswith("allauth."):
        for _model in _config.get_models():
            if admin.site.is_registered(_model):
                admin.site.unregister(_model)
