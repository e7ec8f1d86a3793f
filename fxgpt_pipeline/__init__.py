"""Orchestration: Dagster assets, checks, jobs, schedules and sensors, and the `fxgpt` command."""

import os

# OpenMP reads this when torch or LightGBM loads it. Its default is to spin while waiting, which slows training about
# twentyfold as soon as anything else wants the same cores (a daemon, a second run).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
