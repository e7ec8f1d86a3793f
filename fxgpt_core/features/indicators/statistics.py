"""Memory and disorder of returns: Hurst exponent, autocorrelation, entropy, variance ratio."""
