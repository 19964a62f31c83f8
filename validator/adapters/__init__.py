"""One vendor per module: every import of httpx, asyncpg or trio_asyncio is here."""
