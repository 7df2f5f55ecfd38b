"""The three algorithms and the wrappers around their two callables; providers and stores are handed in."""
