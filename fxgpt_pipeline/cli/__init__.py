"""The `fxgpt` command, one file per verb group."""
