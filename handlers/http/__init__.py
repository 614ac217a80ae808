"""HTTP: routes and their views, the gate before them, the pages."""
