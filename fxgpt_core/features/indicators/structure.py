"""Market structure in a causal form: swings, order blocks, fair value gaps exist from the bar that confirms them."""
