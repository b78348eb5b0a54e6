"""Networks of actors, one file each: what turns the observations of a tick into the means of all actions.

``dense`` has a stack for each group of agents, which sees its agent's own observation. ``graph`` has one set of weights
for any feeder and passes messages between neighbouring buses. ``gru`` gives agents a memory.
:mod:`powergrid.learn.actors.network` says what a network offers, and :mod:`powergrid.learn.actors.choice` makes one.
"""
