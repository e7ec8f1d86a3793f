"""LDM4TS: forecasts through pictures of a window in a latent diffusion model (SPEC section 5)."""
