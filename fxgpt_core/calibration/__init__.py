"""Conformal calibration of any forecast."""
