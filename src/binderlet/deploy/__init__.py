"""This machine as a place for the service: ``doctor`` checks it, ``lock`` keeps a second one out."""
