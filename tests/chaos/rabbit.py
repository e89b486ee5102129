"""A RabbitMQ node of a scenario's own, on a port of its own, that it may kill, block and disconnect."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from servers import free_port
from world import wait_until

#: Where Debian and RabbitMQ's own packages keep the programs that do not change the user.
PLACES = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin")
START_S = 90
#: Somebody has noticed an alarm within this time, or nobody will.
ALARM_S = 20


class Rabbit:
    """Its data is on disk: what it has confirmed is there after a kill."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-mq-"))
        self.port, distribution = free_port(), free_port()
        self.name = f"chaos_{uuid.uuid4().hex[:8]}@localhost"
        self.bin = next((place for place in PLACES if Path(place, "rabbitmq-server").exists()), "")
        if not self.bin:
            raise TimeoutError("no rabbitmq-server here; apt-get install rabbitmq-server")
        settings = self.folder / "rabbitmq.conf"
        settings.write_text(f"listeners.tcp.local = 127.0.0.1:{self.port}\nlog.file.level = warning\n")
        self.environment = {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_START_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        (self.folder / "plugins").write_text("[].\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [f"{self.bin}/rabbitmq-server"], env=self.environment, stdout=out, stderr=out, start_new_session=True
            )
        wait_until(self._answers, f"RabbitMQ on port {self.port}", START_S)

    def _answers(self) -> bool:
        from kombu import Connection

        with suppress(Exception), closing(Connection(self.url, connect_timeout=2)) as made:
            made.ensure_connection(max_retries=1, interval_start=0)
            return True
        return False

    def kill(self) -> None:
        """As a power cut."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # The port is free again when the last of its processes is gone.
        wait_until(self._refuses, "RabbitMQ's end", 20)

    def _refuses(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def restart(self) -> None:
        self.kill()
        self.start()

    def control(self, *words: str) -> None:
        subprocess.run(
            [f"{self.bin}/rabbitmqctl", *words], env=self.environment, capture_output=True, timeout=60, check=True
        )

    def cut_connections(self) -> None:
        self.control("close_all_connections", "chaos")

    def block(self, long_enough: Callable[[], bool]) -> None:
        """Its memory alarm is on, and publishers are blocked, until that was long enough."""
        self.control("set_vm_memory_high_watermark", "0.00001")
        with suppress(TimeoutError):
            wait_until(long_enough, "the alarm", ALARM_S)
        self.control("set_vm_memory_high_watermark", "0.4")

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
