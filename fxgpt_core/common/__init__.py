"""Errors and small types that every layer shares; imports nothing of ours."""
