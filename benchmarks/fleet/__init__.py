"""A round of 1,000 to 100,000 servers through the real functions."""
