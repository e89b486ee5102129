"""Every process believes that it holds the housekeeping lease, and throws away what is old every other second."""

from clockmill import housekeeping
from db.ledger import Ledger

housekeeping.PRUNE_S = 2
Ledger.lease = lambda self, name, seconds: True  # type: ignore[method-assign]
