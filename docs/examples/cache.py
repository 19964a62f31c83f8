"""A cache that refreshes itself: asked at once, never older than its period."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from actors import Actor, Ask, Tell, open_actor


@attrs.frozen
class GetRate(Ask["Rates", float]):
    currency: str


@attrs.frozen
class Refresh(Tell["Rates"]):
    pass


class Rates(Actor):
    def __init__(self, fetch: Callable[[], Awaitable[dict[str, float]]]) -> None:
        self.fetch = fetch

    async def started(self) -> None:
        # Whoever asks before that waits in the mailbox: there is no empty cache.
        self.rates = await self.fetch()
        self.ctx.every(0.1, Refresh())

    @Refresh.handled
    async def refresh(self, m: Refresh) -> None:
        try:
            self.rates = await self.fetch()
        except OSError as error:
            print("old rates for now:", error)

    @GetRate.handled
    def get_rate(self, m: GetRate) -> float:
        return self.rates[m.currency]


class Bank:
    """Somebody else's service."""

    def __init__(self) -> None:
        self.calls = 0

    async def fetch(self) -> dict[str, float]:
        await trio.sleep(0.005)
        self.calls += 1
        if self.calls == 2:
            raise OSError("the bank does not answer")
        return {"EUR": 1.0, "USD": 1.1 + self.calls / 100}


async def main() -> None:
    bank = Bank()
    async with open_actor(lambda: Rates(bank.fetch)) as rates:
        for _ in range(5):
            rate = await rates.ask(GetRate("USD"), timeout=1)
            print(f"a euro is {rate:.2f} dollars")
            await trio.sleep(0.07)
        print(bank.calls, "calls")


if __name__ == "__main__":
    trio.run(main)
