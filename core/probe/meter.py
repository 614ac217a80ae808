"""The rate limit: packets a second, all targets together."""

UNLIMITED = 1 << 30
SLACK_S = 0.005  # how much a sweep that was late may catch up at once


class Meter:
    """A bucket of packets that fills at the allowed rate.

    In no second do more than `rate_pps` packets leave: what the bucket may hold is taken off the
    rate it fills at. (With several ports per volley and a rate below twice their number, a
    second may hold one volley more.)
    """

    def __init__(self, rate_pps: float, volley: int, now_ns: int) -> None:
        self._limited = rate_pps > 0
        self._capacity = max(1.0, rate_pps * SLACK_S)
        slack = self._capacity - 1 + volley - 1
        self._per_ns = max(rate_pps - slack, rate_pps / 2) / 1e9
        self._level = 1.0
        self._filled_ns = now_ns

    def room(self, now_ns: int) -> int:
        """How many packets may leave now."""
        if not self._limited:
            return UNLIMITED
        gained = (now_ns - self._filled_ns) * self._per_ns
        self._level = min(self._capacity, self._level + gained)
        self._filled_ns = now_ns
        return max(0, int(self._level))

    def spend(self, packets: int) -> None:
        """So many have left; more than there was room for is paid for by waiting."""
        self._level -= packets

    def ready_ns(self) -> int:
        """When the next packet may leave, on the monotonic clock; 0: at any time."""
        if not self._limited or self._level >= 1:
            return 0
        return self._filled_ns + int((1 - self._level) / self._per_ns) + 1
