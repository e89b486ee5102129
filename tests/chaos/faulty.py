"""clockmill over a network that breaks at COMMIT, before the server has it or before its answer comes back.

FAULT_P=0.2 python tests/chaos/faulty.py scheduler
"""

import os
import random
import socket
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect

SHARE = float(os.environ.get("FAULT_P", "0"))

commit = DefaultDialect.do_commit
about_to_commit = threading.local()


@event.listens_for(Engine, "commit")
def remember(connection: Connection) -> None:
    # Only what writes is broken here: an answer that was read needs no COMMIT.
    about_to_commit.writes = connection.get_execution_options().get("writing", False)


def broken_commit(dialect: Any, connection: Any) -> None:
    # Every process of a family has its own luck.
    luck = random.SystemRandom().random() if about_to_commit.writes else 0.5
    if luck < SHARE:
        connection.rollback()
        cut(dialect.name, connection)
    commit(dialect, connection)
    if luck > 1 - SHARE:
        cut(dialect.name, connection)


def cut(name: str, connection: Any) -> None:
    """The connection breaks, and the driver finds out in its own way."""
    with Path(os.environ["CHAOS_LOG"]).with_name("faults.log").open("ab", buffering=0) as file:
        file.write(b"x")
    if name == "sqlite":
        raise sqlite3.OperationalError("disk I/O error")
    driver = connection.driver_connection
    if name == "postgresql":
        with socket.socket(fileno=os.dup(driver.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
        driver.execute("SELECT 1")
    driver._sock.shutdown(socket.SHUT_RDWR)
    driver.ping(reconnect=False)


DefaultDialect.do_commit = broken_commit  # type: ignore[method-assign]

if __name__ == "__main__":
    from clockmill.cli import main

    sys.argv[0] = "clockmill"
    main()
