"""How an attempt is run, killed and told about: in a thread, in a process of its own, as a command."""

from clockmill.executors.order import Exit, Order, Tell
from clockmill.executors.pool import Executors

__all__ = ["Executors", "Exit", "Order", "Tell"]
