"""As many jobs that do nothing, every second, as SOAK says; one half in threads, the other in processes."""

import os

from clockmill import Context, job


def declare(n: int) -> None:
    @job(
        name=f"plain-{n:03}",
        schedule="@every 1s",
        timezone="UTC",
        executor="thread" if n % 2 else "process",
        overlap="allow",
    )
    def nothing(ctx: Context) -> None:
        pass

    globals()[f"plain{n}"] = nothing


for n in range(int(os.environ.get("SOAK", "50"))):
    declare(n)
