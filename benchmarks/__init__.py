"""The project's own measurements; `make bench` runs them and writes the tables that the README quotes."""
