"""The fxgpt library: market data, features, models, evaluation and lifecycle, free of any orchestrator."""
