"""The HTTP side: BinderHub's contract, the operator's private socket, and the pages' URLs (``routes.py`` has all)."""
