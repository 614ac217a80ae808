"""A round: measured, sent, recorded, noted."""
