"""Who calls Pinglet: protocols and events, each a thin face of core."""
