"""Plots of the report, one file each."""
