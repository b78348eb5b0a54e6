"""Sources of data by name, one file each: what they have, where it is, and how it is read."""
