"""taskq: a distributed task queue on Redis that speaks the standard library."""
