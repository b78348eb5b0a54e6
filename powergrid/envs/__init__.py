"""Environments: adaptors between the engine and the libraries that learn."""

from powergrid.envs.factory import make, make_functional, make_vec

__all__ = ["make", "make_functional", "make_vec"]
