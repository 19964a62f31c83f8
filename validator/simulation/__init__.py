"""A whole subnet on one machine: fakes for every port, and the demonstration.

Used by ``validator demo`` and by the tests alike.
"""
