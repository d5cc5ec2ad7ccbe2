"""The composition root: settings in, running service out.

``machinery`` names the concrete adapters, ``service`` makes every part and hands each what it needs, ``run`` is what
the command line runs.
"""
