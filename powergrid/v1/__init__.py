"""PowerGrid v1 with its behaviour: the same import paths and the same numbers, defects included.

Programs written for version 0.0.2 keep their imports (see :mod:`powergrid.v1.aliases`); the reward, observations and
tables they read are those of v1. Only the power flow inside is another one (:mod:`powergrid.v1.power_flow`). Nothing
outside this folder, ``base_env`` and ``migration`` uses it.
"""
