"""Comparisons that stand on everything else: the same days of the same world, coordinated in different ways."""
