"""As many small jobs with effects as MANY says."""

import importlib.util
import os
import sys
from pathlib import Path

from clockmill import Context, job

path = Path(__file__).parents[1] / "jobs" / "effects.py"
spec = importlib.util.spec_from_file_location("chaos_effects", path)
effects = importlib.util.module_from_spec(spec)
sys.modules["chaos_effects"] = effects
spec.loader.exec_module(effects)


def declare(name: str) -> None:
    @job(
        name=name,
        schedule=f"@every {os.environ['MANY_EVERY']}s",
        outputs=[effects.effect(name)],
        **effects.POLICY,
    )
    def small(ctx: Context) -> None:
        effects.work(ctx, 0)

    globals()[name] = small


for n in range(int(os.environ["MANY"])):
    declare(f"many{n:03}")
