"""Environments: adaptors between a world and the interfaces of learning libraries."""

from powergrid.envs.factory import make, make_functional, make_vec

__all__ = ["make", "make_functional", "make_vec"]
