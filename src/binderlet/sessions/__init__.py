"""Sessions: started, routed, watched, judged and ended. Start reading with ``book.py``."""
