"""Django's PostgreSQL for a pooler in transaction mode (PgBouncer): each transaction may get another connection."""
