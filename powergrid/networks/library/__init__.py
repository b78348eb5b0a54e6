"""One file per network: a function ``(**options) -> Network`` registered under its name."""
