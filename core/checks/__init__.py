"""How a server is looked at: kinds of checks, and what one look adds up to."""
