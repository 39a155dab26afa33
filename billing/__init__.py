"""What was used, what it costs, who owes whom."""
