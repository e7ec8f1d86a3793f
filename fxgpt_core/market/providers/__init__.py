"""Sources of candles, one file each."""
