"""Addresses of the sockets."""

from __future__ import annotations

from django.urls import path

from portal.live.consumers import PoolConsumer
from portal.live.overview import OverviewConsumer

websocket_urlpatterns = [
    path("ws/overview/", OverviewConsumer.as_asgi()),
    path("ws/pools/<int:pool_id>/", PoolConsumer.as_asgi()),
    path("ws/t/<slug:slug>/pools/<int:pool_id>/", PoolConsumer.as_asgi()),
]
