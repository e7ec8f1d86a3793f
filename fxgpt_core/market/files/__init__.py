"""Files of bars: recognised, read, judged and imported."""
