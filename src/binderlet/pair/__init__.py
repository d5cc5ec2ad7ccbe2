"""Several control planes for one cluster: one leads, the others carry visitors and wait."""
