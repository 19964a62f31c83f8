"""Fiber, the wire protocol between validators and miners, encrypted flavour.

The layers, each importing only from those below it::

    transport            httpx; the only file here with a socket
    session | server     who may say what next: the validator's side, the miner's side
    crypto               RSA, Fernet, sr25519
    wire                 bytes <-> values

All but ``transport`` are free of I/O and of clocks: both sides can be joined back to
back in a test.
"""
