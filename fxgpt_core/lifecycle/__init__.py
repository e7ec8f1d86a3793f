"""Registry, drift and audit: executes what `policy` decides."""
