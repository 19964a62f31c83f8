"""The validator's actors: when things are done, and what is remembered meanwhile."""
