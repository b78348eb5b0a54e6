"""Training and evaluation: one file an algorithm, runs that resume, policies that act without JAX.

Entry points: :func:`powergrid.learn.train.train`, :func:`powergrid.learn.evaluate.evaluate` and
:func:`powergrid.learn.checkpoint.load_actor`.
"""
