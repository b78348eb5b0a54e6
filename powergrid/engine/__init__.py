"""The physics of a step, on NumPy, compiled and on JAX."""
