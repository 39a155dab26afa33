"""What the pages of this room share."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse

from portal.accounts.models import User


def me(request: HttpRequest) -> User:
    """The signed-in person."""
    return cast(User, request.user)


class Refusing:
    """For allauth's views: a form with mistakes is answered 422, as everywhere; the menu shows where one is."""

    extra_context = {"nav": "account"}

    def form_invalid(self, form: Any) -> HttpResponse:
        """The form again, with its errors."""
        response: HttpResponse = super().form_invalid(form)  # type: ignore[misc]
        if response.status_code == 200:
            response.status_code = 422
        return response
