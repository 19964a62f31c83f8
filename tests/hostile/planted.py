"""Three actors as one finds them in the wild, each with a mistake that needs luck.

First in, first out, all of them work. What is wrong stands at ``# wrong:``.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from actors import Actor, Ask, Ref, Tell, open_actor
from actors.testing import World
from supervision import Child, System

# -- a lost wake-up -------------------------------------------------------------------


@attrs.frozen
class Print(Tell["Printer"]):
    page: str


class Printer(Actor):
    """Prints page by page, in a body of its own."""

    def __init__(self, printed: Callable[[str], object]) -> None:
        self._printed = printed
        self._pages: list[str] = []
        self._arrived = trio.Event()

    @Print.handled
    def take(self, m: Print) -> None:
        self._pages.append(m.page)
        self._arrived.set()

    async def run(self) -> None:
        while True:
            if not self._pages:
                await self._let_cool_down()
                # wrong: a page that came meanwhile has set the event before this one.
                self._arrived = trio.Event()
                await self._arrived.wait()
            self._printed(self._pages.pop(0))

    async def _let_cool_down(self) -> None:
        await trio.lowlevel.checkpoint()


async def prints_all_pages(world: World) -> None:
    done = trio.Event()
    printed: list[str] = []

    def note(page: str) -> None:
        printed.append(page)
        if len(printed) == 2:
            done.set()

    async with open_actor(lambda: Printer(note)) as printer:
        for page in "ab":
            printer.tell(Print(page))
            for _ in range(3):
                await trio.lowlevel.checkpoint()
        await done.wait()


# -- a restart and a stop at the same time --------------------------------------------


class Session:
    """What there may be one of, and none after the end."""

    def __init__(self, all_sessions: list[Session]) -> None:
        all_sessions.append(self)
        self.over = trio.Event()


@attrs.frozen
class Close(Ask["Keeper", None]):
    pass


class Keeper(Actor):
    """Keeps a session open, and opens another whenever it breaks."""

    def __init__(self, sessions: list[Session]) -> None:
        self._sessions = sessions
        self._session = Session(sessions)
        self._closing = False

    async def run(self) -> None:
        while not self._closing:
            await self._session.over.wait()
            if not self._closing:
                await trio.lowlevel.checkpoint()  # connects
                # wrong: it may have been closed while it connected.
                self._session = Session(self._sessions)

    @Close.handled
    def close(self, m: Close) -> None:
        self._closing = True
        self._session.over.set()


async def leaves_no_session_open(world: World) -> None:
    sessions: list[Session] = []
    async with open_actor(lambda: Keeper(sessions)) as keeper:
        sessions[0].over.set()
        await keeper.ask(Close())
        await trio.sleep(1)
        assert all(session.over.is_set() for session in sessions)


# -- two that wait for each other -----------------------------------------------------


@attrs.frozen
class GetPrice(Ask["Supplier", int]):
    pass


@attrs.frozen
class Deliver(Ask["Supplier", int]):
    pass


@attrs.frozen
class Book(Ask["Shop", int]):
    goods: int


class Shop(Actor):
    """Asks for the price in its body, with the books locked meanwhile."""

    def __init__(self, supplier: Callable[[], Ref[Supplier]]) -> None:
        self._supplier = supplier
        self._books = trio.Lock()
        self._price = self._goods = 0

    async def run(self) -> None:
        await trio.sleep(1)
        async with self._books:
            # wrong: to answer, the supplier may need the books first. The runtime
            # would refuse a circle of asks, but a lock it cannot see.
            self._price = await self._supplier().ask(GetPrice())

    @Book.handled
    async def book(self, m: Book) -> int:
        async with self._books:
            self._goods += m.goods
            return self._goods


class Supplier(Actor):
    def __init__(self, shop: Callable[[], Ref[Shop]]) -> None:
        self._shop = shop

    @GetPrice.handled
    def get_price(self, m: GetPrice) -> int:
        return 5

    @Deliver.handled
    async def deliver(self, m: Deliver) -> int:
        return await self._shop().ask(Book(10))


async def trades(world: World) -> None:
    refs: list[System] = []
    shop = Child(
        "shop",
        lambda: Shop(lambda: refs[0].ref(supplier)),
        handler_timeout=None,
    )
    supplier = Child(
        "supplier",
        lambda: Supplier(lambda: refs[0].ref(shop)),
        handler_timeout=None,
    )
    system = System(supplier, shop, on_event=[world.trace], random=world.random)
    refs.append(system)
    async with system:
        await trio.sleep(1)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert await system.ref(supplier).ask(Deliver()) == 10
