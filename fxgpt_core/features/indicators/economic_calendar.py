"""Scheduled releases of the pair's two currencies: how near, how many, how heavy."""
