"""What a load needs and costs: launches, sessions at once, machines, money. Pure."""
