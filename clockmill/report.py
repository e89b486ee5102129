"""What a run says of itself when it has ended."""

import json
from collections.abc import Mapping
from typing import Any

PHASES = ("read", "compile", "compute", "write", "publish")


def report_of(run: Any) -> Mapping[str, Any]:
    """The report kept with a run; empty before it ended."""
    return json.loads(run.report_json) if run.report_json else {}
