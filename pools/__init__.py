"""Capacity and admission: what can be served, to whom, now."""
