"""Foreign APIs and nothing of ours; their errors become ours here."""
