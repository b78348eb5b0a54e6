"""The step compiled for the CPU: the same kernels on floats, in the same order as ``powergrid.engine.step``.

NumPy is the reference text and costs about 20 us a kernel, however few units there are; compiled loops cost what their
arithmetic costs. ``kernels`` turns each device family's kernels into C functions, once on a machine; ``loops`` holds
the engine's own part, which calls them; ``step`` puts both together behind the reference's signature.
"""
