"""Orchestration: Dagster assets, checks, jobs, schedules and sensors, and the `fxgpt` command."""
