"""AWS Lambda: one file for each function, and what their events have in common."""
