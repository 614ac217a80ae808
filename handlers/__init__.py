"""Who calls Pinglet: protocols and events, each a thin face of core."""

import gc

# Imports make hundreds of thousands of objects that stay. At Python's own threshold of 700 the
# collector looks through them again and again: a tenth of every cold start.
gc.set_threshold(50_000)
