"""What Pinglet does. Knows no HTTP, no Lambda and no cloud."""
