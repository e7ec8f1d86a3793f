"""Backtests of out-of-sample forecasts behind one seam."""
