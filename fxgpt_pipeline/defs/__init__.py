"""Dagster definitions, one package per concern."""
