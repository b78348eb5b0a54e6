"""Device families, one file each: columns, kernels, class."""
