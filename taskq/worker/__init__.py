"""Runs jobs: one supervisor that never runs user code, and its children."""
