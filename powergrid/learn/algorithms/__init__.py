"""Learning algorithms, one file each, found by name through :data:`powergrid.plugins.registries.ALGORITHMS`.

An algorithm is a callable ``(env, steps, hyper) -> learner``; what a learner offers is said in
:class:`powergrid.learn.learner.Learner`.
"""
