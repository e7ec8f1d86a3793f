"""What is wrong with bars: judged, counted, described."""
