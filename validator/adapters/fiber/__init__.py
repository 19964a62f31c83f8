"""Fiber, the wire protocol between validators and miners, encrypted flavour.

The layers, each importing only from those below it::

    transport            one connection to a miner, as the port has it: httpx
    streams              its sockets, TLS and bodies; the only file here that has any
    session | server     who may say what next: the validator's side, the miner's side
    crypto               RSA, Fernet, sr25519
    wire                 bytes <-> values

All but ``transport`` and ``streams`` are free of I/O and of clocks: both sides can be
joined back to back in a test.
"""
