"""What this machine has left, for those who plan with it."""

from __future__ import annotations

import psutil

from binderlet.sessions.standby import Machine


def read_machine() -> Machine:
    """Read memory, swap and how busy the processors were since the last call; blocks for about a millisecond."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Machine(
        memory=memory.total,
        memory_free=memory.available,
        swap=swap.total,
        swap_free=swap.free,
        cpu=psutil.cpu_percent(interval=None) / 100,
    )
