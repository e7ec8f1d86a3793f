"""Paths, clock, settings and the operational database."""
