"""What Pinglet does. Knows no HTTP, no Lambda and no cloud."""

import sys

# Every process comes by here first. An older Python would fail at some name that it doesn't know.
if sys.version_info < (3, 11):  # noqa: UP036 (what was installed without pip's own check)
    FOUND = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"Error: Python must be 3.11 or newer, got {FOUND}")
