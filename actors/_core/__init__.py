"""The machine itself; import its names from ``actors``."""
