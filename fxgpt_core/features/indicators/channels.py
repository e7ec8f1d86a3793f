"""Price channels: where the close lies between bands around averages and extremes."""
