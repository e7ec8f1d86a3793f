"""Checks of the features: nothing looks ahead, what is stored is what would be computed, warm-up suffices."""
