"""Addresses of the alert pages."""

from __future__ import annotations

from django.urls import path

from pools.web import alert_channels as channels
from pools.web import alert_rules as rules
from pools.web import alerts

urlpatterns = [
    path("alerts/", alerts.alerts, name="alerts"),
    path("alerts/open/", alerts.open_part, name="alerts-open"),
    path("alerts/history/", alerts.history, name="alert-history"),
    path("alerts/<int:alert_id>/", alerts.alert, name="alert"),
    path("alerts/deliveries/", alerts.delivery_list, name="alert-deliveries"),
    path("alerts/deliveries/<int:delivery_id>/", alerts.delivery, name="alert-delivery"),
    path("alerts/deliveries/<int:delivery_id>/retry/", channels.retry, name="alert-delivery-retry"),
    path("alerts/rules/new/", rules.create, name="alert-rule-new"),
    path("alerts/rules/preview/", rules.preview, name="alert-rule-preview"),
    path("alerts/rules/recommended/", rules.recommended, name="alert-rules-recommended"),
    path("alerts/rules/take-back/", rules.take_back, name="alert-rules-take-back"),
    path("alerts/rules/<int:rule_id>/", rules.rule, name="alert-rule"),
    path("alerts/rules/<int:rule_id>/edit/", rules.edit, name="alert-rule-edit"),
    path("alerts/rules/<int:rule_id>/mute/", rules.mute, name="alert-rule-mute"),
    path("alerts/rules/<int:rule_id>/unmute/", rules.unmute, name="alert-rule-unmute"),
    path("alerts/rules/<int:rule_id>/delete/", rules.delete, name="alert-rule-delete"),
    path("alerts/rules/<int:rule_id>/restore/<int:number>/", rules.restore, name="alert-rule-restore"),
    path("alerts/rules/<int:rule_id>/<slug:state>/", rules.switch, name="alert-rule-switch"),
    path("alerts/channels/new/", channels.create, name="alert-channel-new"),
    path("alerts/channels/<int:channel_id>/", channels.channel, name="alert-channel"),
    path("alerts/channels/<int:channel_id>/edit/", channels.edit, name="alert-channel-edit"),
    path("alerts/channels/<int:channel_id>/restore/<int:number>/", channels.restore, name="alert-channel-restore"),
    path("alerts/channels/<int:channel_id>/test/", channels.test, name="alert-channel-test"),
    path("alerts/channels/<int:channel_id>/secret/", channels.secret, name="alert-channel-secret"),
    path("alerts/channels/<int:channel_id>/delete/", channels.delete, name="alert-channel-delete"),
]
