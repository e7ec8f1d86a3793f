"""Compiled loops of indicators; imported inside the functions that need them, because numba loads slowly."""
