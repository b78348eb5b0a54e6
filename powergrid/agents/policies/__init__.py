"""Local policies, one file each."""
