"""Training and evaluation: one file an algorithm, runs that resume, policies that act without JAX.

Entry points: :func:`powergrid.train`, :func:`powergrid.evaluate` and :func:`powergrid.load_policy`.
"""

MOST_DEVICES = 8
"""Parts that a CPU is divided into for JAX; more would leave each with too few environments."""
