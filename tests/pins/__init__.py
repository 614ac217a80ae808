"""What Pinglet v0.1.0 does, seen from outside, kept as files. See __main__.py."""
