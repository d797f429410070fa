"""How compositions run: starting, waiting, stopping, and what comes of it."""
