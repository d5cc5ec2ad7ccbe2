"""One launch from request to session: ``machine`` decides, ``runner`` does, ``book`` keeps them."""
