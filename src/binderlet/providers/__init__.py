"""Which commit is this? ``base`` is the port; one file per repo provider."""
