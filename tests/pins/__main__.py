"""Write the pins anew: `python -m tests.pins --write [NAME...]`, as test_pins.py compares them.

A pin holds what Pinglet shows from outside. Whoever changes one says in the commit which, and why.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from tests.pins.pins import looks
from tests.pins.world import World
from tests.postgres import Postgres

KEPT = Path(__file__).parent / "kept"


def main() -> int:
    """Write what the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.pins", description=__doc__)
    parser.add_argument("--write", action="store_true", required=True)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as replies/people.txt")
    wanted = parser.parse_args().names
    logging.disable(logging.CRITICAL)
    cluster = Postgres()
    cluster.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            write(World(Path(folder), cluster), wanted)
    finally:
        cluster.close()
    return 0


def write(world: World, wanted: list[str]) -> None:
    """Look at everything once: at SQLite where both kinds are alike."""
    written = set()
    for name, kind, look in looks():
        if name not in written and (not wanted or name in wanted):
            (KEPT / name).parent.mkdir(parents=True, exist_ok=True)
            (KEPT / name).write_text(look(world, kind), encoding="utf-8", newline="")
            written.add(name)
    world.close()


if __name__ == "__main__":
    sys.exit(main())
