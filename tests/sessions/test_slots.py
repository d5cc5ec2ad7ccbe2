"""How many sessions start at once."""

from __future__ import annotations

import asyncio

import pytest

from binderlet.sessions.slots import Slots, default_concurrency
from binderlet.tasks import Tasks


@pytest.mark.parametrize(("cores", "starts"), [(1, 2), (2, 3), (4, 6), (48, 72)])
def test_one_and_a_half_starts_per_core(cores: int, starts: int) -> None:
    """The default follows the machine, and is never less than two."""
    assert default_concurrency(cores) == starts


def test_the_default_is_this_machines() -> None:
    """Without a number the machine's cores count."""
    assert default_concurrency() >= 2


async def test_only_so_many_hold_a_slot_and_the_first_comes_first() -> None:
    """The others wait in the order in which they came."""
    slots, order, most = Slots(2), list[int](), 0
    inside = set[int]()

    async def work(number: int) -> None:
        nonlocal most
        async with slots.hold():
            inside.add(number)
            order.append(number)
            most = max(most, len(inside))
            await asyncio.sleep(0.005)
            inside.discard(number)

    await asyncio.gather(*(work(number) for number in range(6)))
    assert (order, most) == ([0, 1, 2, 3, 4, 5], 2)


async def test_a_failing_or_cancelled_holder_gives_its_slot_back() -> None:
    """Nothing that ends badly keeps others waiting."""
    slots = Slots(1)
    with pytest.raises(ValueError, match="broken"):
        async with slots.hold():
            raise ValueError("broken")
    async with Tasks("test") as tasks:

        async def stay() -> None:
            async with slots.hold():
                await asyncio.sleep(60)

        holder, waiter = tasks.start(stay(), name="holder"), tasks.start(stay(), name="waiter")
        await asyncio.sleep(0)
        waiter.cancel()
        holder.cancel()
        async with asyncio.timeout(1), slots.hold():
            pass


async def test_a_slow_start_makes_room_without_being_stopped() -> None:
    """A session that never answers does not keep others from starting, and gives back one slot, not two."""
    slots = Slots(1, longest=0.1)
    async with Tasks("test") as tasks:

        async def slow() -> None:
            async with slots.hold():
                await asyncio.sleep(0.15)

        starting = tasks.start(slow(), name="slow")
        await asyncio.sleep(0)
        async with asyncio.timeout(1), slots.hold():
            assert not starting.done()
        await starting
    async with slots.hold():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), slots.hold():
                pytest.fail("two held the only slot")
