"""Formulas against tables and properties. No database, no store, no clock."""
