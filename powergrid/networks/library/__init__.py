"""One file a network: a function ``(**options) -> Network`` registered under its name."""
