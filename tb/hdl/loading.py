"""How the block tests write loadable memories."""

from typing import Any


async def write(context: Any, bus: Any, words: list[tuple[int, int]]) -> None:
    """Write words to a load bus, one per cycle, and leave it at rest until the last has arrived."""
    for address, word in words:
        context.set(bus.write, 1)
        context.set(bus.address, address)
        context.set(bus.data, word)
        await context.tick()
    context.set(bus.write, 0)
    await context.tick()
    await context.tick()
