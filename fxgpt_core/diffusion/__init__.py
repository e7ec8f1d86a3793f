"""Noise schedules, samplers, denoiser wrappers and heads, shared by the diffusion families."""
