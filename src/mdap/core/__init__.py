"""Pure values and laws: no I/O, no clock, no chance, no event loop."""
