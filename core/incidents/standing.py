"""How an incident's row says that it is open, and what goes with its end."""

from collections.abc import Mapping
from types import MappingProxyType

from core.models import INCIDENT

IS_OPEN = INCIDENT.c.resolved.is_(None)
LET_GO: Mapping[str, object] = MappingProxyType(
    {"is_flapping": False, "held": None, "acked_by": None, "acked_until": None}
)
"""What no incident has any more once it is over, however it ends: columns and their values."""
