"""The report's pictures, one file each."""
