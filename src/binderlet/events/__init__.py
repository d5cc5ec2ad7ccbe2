"""What happened: events of launches, facts for the record, build logs, metrics, the launch archive."""
