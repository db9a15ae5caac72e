"""Batched image kernels: geometry, colour, AutoAugment."""
