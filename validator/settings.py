"""How the validator is tuned; every value has a production default."""

from __future__ import annotations

from datetime import timedelta

import attrs


@attrs.frozen(kw_only=True)
class Settings:
    """Limits and cadences. Plain numbers are seconds of trio's clock."""

    handshake_timeout: float = 30.0
    """The whole key exchange with one miner."""
    query_timeout: float = 180.0
    """The whole question to one miner, a second handshake included."""
    miners_at_once: int = 256
    """Exchanges with miners under way at once, of all rounds together."""
    bytes_in_flight: int = 128_000_000
    """What they may hold of questions and answers in memory, all together."""
    database_timeout: float = 200.0
    """What an actor waits for the database; the store's own limits are shorter."""
    source_timeout: float = 60.0
    """Reading observed data from their source."""
    chain_timeout: float = 60.0
    """One call to the chain."""
    metagraph_interval: timedelta = timedelta(minutes=5)
    """Data time between two looks at who is registered."""
    weights_interval: timedelta = timedelta(minutes=1)
    """Data time between two tries to set weights that were refused or are too soon."""
    lease_interval: float = 10.0
    """Between two looks whether the lease is ours."""
    keep: timedelta = timedelta(days=30)
    """What is about times longer ago is deleted from the database."""
    prune_interval: timedelta = timedelta(hours=1)
    """Data time between two deletions of what is older."""
    watch_interval: float = 30.0
    """Between two looks of the watchdog at the whole tree."""
    loop_limit: float = 1.0
    """A blocked event loop is noticed after so long."""
    loop_hard_limit: float | None = None
    """A loop that is blocked for so long ends the process. None: never."""

    @property
    def round_timeout(self) -> float:
        """How long a round of questions lasts at the most."""
        return self.handshake_timeout + self.query_timeout
