"""Tenants, people, their roles, and API keys."""
