"""App of the people room: sign-in, account, people."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    """Pages and deeds; the models are in portal.accounts."""

    name = "portal.people"
