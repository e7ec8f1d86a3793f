"""Model families, one package each, behind one `Forecaster` contract and one registry line."""
