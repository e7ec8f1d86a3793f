"""The retraining rule replayed along history: decide, train, calibrate and forecast as it would have been live."""
