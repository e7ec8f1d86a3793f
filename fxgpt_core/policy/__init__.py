"""Pure rules: state in, decision with reasons out."""
