"""A Bittensor-subnet validator whose every task is a supervised actor.

The layers, each importing only from those below it (checked by import-linter)::

    cli                          the only module that prints
    simulation                   a whole subnet on one machine: `validator demo`
    app                          composition root: ports -> actors -> tree
    logs | actors | adapters     what is done, and with which vendor
    events                       what happened, as frozen values
    ports | settings             what is needed
    domain                       the rules: no clock, no log, no trio
"""
