"""Sweeps: seeds x configurations x algorithms, each a run of its own, on this machine, Ray or Dask.

:mod:`~powergrid.learn.sweep.grid` reads the file, :mod:`~powergrid.learn.sweep.job` trains and evaluates one run,
``on_<executor>.py`` distributes the runs, and :mod:`~powergrid.learn.sweep.sweep` puts them together.
"""
