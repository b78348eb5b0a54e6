"""Readers of archives that people have on disk, one file each. They download nothing."""
