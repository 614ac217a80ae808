"""The CDN's Chart.js is npm's: its hash stands in the page."""

import base64
import hashlib

from handlers.dashboard import CDN_CHART, CHART
from tests.infra.npm import ROOT, need_tools


def test_the_hash_in_the_page_is_that_of_what_npm_installs() -> None:
    need_tools("Chart.js's hash")
    file = ROOT / "node_modules" / CHART
    digest = base64.b64encode(hashlib.sha384(file.read_bytes()).digest()).decode()
    assert CDN_CHART.integrity == f"sha384-{digest}"
