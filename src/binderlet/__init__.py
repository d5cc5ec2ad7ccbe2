"""A Binder on one machine: a git repository goes in, a link to a running JupyterLab comes out.

The path of one launch, which is also the layout of this package::

    GET /build/gh/owner/repo/ref
      api/ --> launch/ --> providers/    which commit is this?
                 |     --> images/       is there an image for it?  yes -> sessions
                 |     --> builder/      build it (once, however many wait) -> images keeps it
                 |     --> sessions/     start one and wait until it answers
                 |           engine/     docker | fake: start, stop, list, watch
                 |     --> router/       /user/<id>/ now leads to it (HAProxy map)
                 |     sessions/keeper   later: idle or too old -> stop
                 +-------> events/       every step, once -> SSE to each viewer, log, store

Start reading in ``launch/machine.py``; ARCHITECTURE.md has the reading order and the laws.
"""

__version__ = "0.1.0"
