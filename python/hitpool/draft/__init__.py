"""The first configuration for somebody's own detector, from a look at the data."""
