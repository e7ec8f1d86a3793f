"""SSSD: state-space encoders per timeframe, cross-timeframe attention, a joint diffusion head."""
