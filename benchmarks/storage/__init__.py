"""What history costs: its bytes, and the time of each reading."""
