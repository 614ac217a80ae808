"""All commands.

Exit codes: 0 done, 1 a refusal or a server that didn't answer, 2 wrong arguments.
"""

from handlers.cli.database import db_group, demo_command
from handlers.cli.estimate import estimate_command
from handlers.cli.incidents import incidents_group
from handlers.cli.maintenance import maintenance_group, quiet_command
from handlers.cli.ping import ping
from handlers.cli.rules import rules_group
from handlers.cli.servers import servers_group
from handlers.cli.users import users_group
from handlers.cli.worker import tidy_command, worker_command

COMMANDS = [
    servers_group,
    users_group,
    incidents_group,
    maintenance_group,
    quiet_command,
    rules_group,
    worker_command,
    ping,
    tidy_command,
    db_group,
    demo_command,
    estimate_command,
]
