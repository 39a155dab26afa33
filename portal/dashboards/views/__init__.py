"""The pages that join the domains. Each asks for rows, shapes them (series), draws them (figures)."""
