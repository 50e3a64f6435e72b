"""Event, Lock and their like of the standard library's threading, across machines."""
