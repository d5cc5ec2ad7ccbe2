"""Starts JupyterLab with less to import; each line was measured, see docs/explanation/startup.md in binderlet.

Works with whatever version a repository installs, and gives the same functions. The exceptions: the checks of the
formats "iri" and "duration" in event schemas, which no event of Jupyter's has, are skipped as on an installation
without the packages that make them.
"""

import gc
import sys

# The folder of this file is no place for anybody's modules.
sys.path.pop(0)

# The cycle collector finds nothing while modules are imported, but walks through all of them again and again.
gc.disable()

# jsonschema checks formats by whichever of these it can import. The first compiles a grammar at import.
for checker in ("rfc3987_syntax", "isoduration"):
    sys.modules[checker] = None  # type: ignore[assignment]  # what the import system takes as "not there"

from jupyter_server.serverapp import ServerApp  # noqa: E402 - the lines above must come first
from jupyterlab.labapp import LabApp  # noqa: E402 - same

serve = ServerApp.start


def start(self: ServerApp) -> None:
    """Turn the collector on again, but not for what has been imported so far: it stays anyway."""
    gc.freeze()
    gc.enable()
    serve(self)


ServerApp.start = start
sys.exit(LabApp.launch_instance())
