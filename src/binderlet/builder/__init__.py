"""Makes a checkout into an image: detect -> plan (pure) -> render (pure) -> build."""
