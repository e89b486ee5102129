"""RabbitMQ of a scenario's own, on ports of its own: one node or a cluster, to be killed, blocked and disconnected."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from servers import free_port
from world import wait_until

#: Where Debian and RabbitMQ's own packages keep the programs that do not change the user.
PLACES = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin")
START_S = 90


def new_name() -> str:
    return f"chaos_{uuid.uuid4().hex[:8]}@localhost"


class Rabbit:
    """Its data is on disk: what it has confirmed is there after a kill."""

    def __init__(self, settings: Sequence[str] = (), name: str = "", cookie: str = "", arguments: str = "") -> None:
        """`settings`: lines of its file. `cookie`: what the nodes of a cluster know each other by. `arguments`: for the
        virtual machine."""
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-mq-"))
        self.port, distribution = free_port(), free_port()
        self.name = name or new_name()
        self.bin = next((place for place in PLACES if Path(place, "rabbitmq-server").exists()), "")
        if not self.bin:
            raise TimeoutError("no rabbitmq-server here; apt-get install rabbitmq-server")
        file = self.folder / "rabbitmq.conf"
        lines = [f"listeners.tcp.local = 127.0.0.1:{self.port}", "log.file.level = warning", *settings]
        file.write_text("\n".join(lines) + "\n")
        if cookie:
            kept = self.folder / ".erlang.cookie"
            kept.write_text(cookie)
            kept.chmod(0o400)
        self.environment = {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(file),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_START_ARGS": f"-kernel inet_dist_use_interface {{127,0,0,1}} {arguments}",
        }
        (self.folder / "plugins").write_text("[].\n")
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [f"{self.bin}/rabbitmq-server"],
                env=self.environment,
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        process = self.process
        wait_until(lambda: process.poll() is not None or self._answers(), f"RabbitMQ on port {self.port}", START_S)
        if process.poll() is not None:
            raise TimeoutError(f"RabbitMQ did not start: {(self.folder / 'out').read_text()[-2000:]}")

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

    def control(self, *words: str) -> str:
        program = [f"{self.bin}/rabbitmqctl", *words]
        done = subprocess.run(program, env=self.environment, capture_output=True, timeout=60, check=True, text=True)
        return done.stdout

    def told(self) -> str:
        """Its log."""
        return "".join(file.read_text() for file in (self.folder / "log").glob("*.log"))

    def cut_connections(self) -> None:
        self.control("close_all_connections", "chaos")

    @contextmanager
    def alarmed(self) -> Iterator[None]:
        """Its memory alarm is on, and publishers are blocked."""
        self.control("set_vm_memory_high_watermark", "0.00001")
        yield
        self.control("set_vm_memory_high_watermark", "0.4")

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def cluster(size: int) -> Iterator[list[Rabbit]]:
    """So many nodes that know each other."""
    names, cookie = [new_name() for _ in range(size)], uuid.uuid4().hex
    settings = [f"cluster_formation.classic_config.nodes.{n} = {name}" for n, name in enumerate(names, 1)]
    # The first is a cluster already when the others look for one.
    nodes = [Rabbit(settings, names[0], cookie)]
    try:
        with ThreadPoolExecutor() as together:
            nodes += together.map(lambda name: Rabbit(settings, name, cookie), names[1:])
        yield nodes
    finally:
        for node in nodes:
            node.close()
