"""What is kept of the past, and what it says."""
