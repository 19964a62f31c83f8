"""A private PostgreSQL server as a child process: nothing to install or to clean up.

Who may import whom, highest first::

    server      starts the server in a claimed directory and watches it
    directory   which directory, and that it is ours alone
    binaries    where the programs are, and as which account they run
    leftovers   what a killed owner left running

The server is reachable through a unix socket only, and only for the account that
runs this program (and root). Linux only: it leans on ``/proc``, pidfds and the
parent-death signal.
"""

from validator.adapters.embedded.binaries import PostgresMissing
from validator.adapters.embedded.directory import (
    ClaimedDirectory,
    DataDirInUse,
    DataDirUnusable,
    claim_directory,
    private_directory,
)
from validator.adapters.embedded.server import PostgresDied, serve

__all__ = [
    "ClaimedDirectory",
    "DataDirInUse",
    "DataDirUnusable",
    "PostgresDied",
    "PostgresMissing",
    "claim_directory",
    "private_directory",
    "serve",
]
