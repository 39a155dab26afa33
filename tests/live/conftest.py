"""Committed rows, because sockets read the database on other threads."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from django.test import Client

from portal.accounts.models import User


@pytest.fixture
def cookie_of() -> Callable[[User], str]:
    """The Cookie header of somebody signed in."""

    def make(user: User) -> str:
        client = Client()
        client.force_login(user)
        jar: SimpleCookie = client.cookies
        return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())

    return make
