"""The rules of the subnet, as pure functions on frozen values.

No clock, no randomness, no logging and no trio in here: time and data are
arguments, so every rule we could be blamed for can be tested as arithmetic.
"""
