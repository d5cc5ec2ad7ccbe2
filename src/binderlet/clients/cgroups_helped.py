"""Control groups for a control plane that is not root: it reads by itself, and the root helper reclaims."""

from __future__ import annotations

from pathlib import Path

from binderlet.clients.cgroups import ROOT, Cgroups, CgroupsUnusable
from binderlet.clients.helper import HelperAway, HelperRefused, ask


class HelpedCgroups(Cgroups):
    """``Cgroups`` whose memory is reclaimed through the helper's socket."""

    def __init__(self, helper: str, root: Path = ROOT) -> None:
        super().__init__(root)
        self._helper = helper

    def reclaim(self, container: str) -> None:
        """Push all of a container's memory out that the kernel will push; does nothing where it is gone.

        Raises:
            CgroupsUnusable: the kernel cannot, or the helper may not.
            OSError: the helper is away, or the kernel failed this time.
        """
        try:
            answer = ask(self._helper, "reclaim", container=container)
        except HelperAway as error:
            raise OSError(str(error)) from error
        except HelperRefused as error:
            raise CgroupsUnusable(str(error)) from error
        if failed := answer.get("failed"):
            raise OSError(f"the kernel does not do it now: {failed}")

    def why_not(self) -> str:
        """Nothing is known against it: the helper says it when it is asked."""
        return ""
