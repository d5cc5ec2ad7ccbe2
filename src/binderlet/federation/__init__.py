"""Several Binders under one name: who gets the next launch (``pick.py``), who is well, and what a member must offer."""
