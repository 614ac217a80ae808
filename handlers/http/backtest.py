"""/api/v1/rules/test: what a draft of a rule would have made of the past. Loaded at first use."""

from core.clock import uptime_s, utc_now
from core.errors import WrongRequest
from core.incidents import backtest
from core.incidents.backtest import Plan, Trial
from core.incidents.records import Backtest, BacktestWanted
from handlers.instance import Instance
from infra import patience

MOST_SERVER_DAYS = 30_000
"""Days of all servers together that a request may ask for: some seconds of work."""
LONGEST_S = 10.0
"""Where a machine is slower than that, nobody waits for it."""
ELSEWHERE = "`flask rules test` takes as many as you like"


def test(here: Instance, wanted: BacktestWanted) -> Backtest:
    """Try a draft of a rule on the past, beside the rules in force; nothing is stored.

    Raises WrongRequest for more than a request may ask for.
    """
    began_s = uptime_s()
    with patience.of(patience.of_steps(here.settings)):
        with here.database.reading() as session:
            plan = backtest.plan(session, wanted, here.settings.keep_days, utc_now())
        _hold(plan)
        trial = Trial(plan)
        # No transaction lasts longer than a portion of the servers takes.
        for some in plan.portions:
            with here.database.reading() as session:
                trial.add(session, some)
            if uptime_s() - began_s > LONGEST_S:
                sentence = f"days must be few enough for {LONGEST_S:g} s of work: {ELSEWHERE}"
                raise WrongRequest(sentence, "days", got=wanted.days)
        return trial.told()


def _hold(plan: Plan) -> None:
    if plan.server_days > MOST_SERVER_DAYS:
        servers, most = len(plan.servers), MOST_SERVER_DAYS // len(plan.servers)
        sentence = f"days must be at most {most} for {servers:,} servers: {ELSEWHERE}"
        raise WrongRequest(sentence, "days", got=plan.days)
