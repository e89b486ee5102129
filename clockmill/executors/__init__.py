"""How an attempt is run, killed and told about: in a thread, in a process of its own, as a command."""

from clockmill.executors.order import Body, Exit, Order, Tell
from clockmill.executors.pool import Executors
from clockmill.executors.seed import Seed

__all__ = ["Body", "Executors", "Exit", "Order", "Seed", "Tell"]
