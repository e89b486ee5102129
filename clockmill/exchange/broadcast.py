"""A word to every daemon on every host. A hint: what it tells of stands in SQL, where each finds it a second later."""

import logging

from clockmill.errors import BrokerUnavailable
from clockmill.exchange.plan import broker_url
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.topology import BROADCAST
from clockmill.mill import Mill

#: What daemons act upon; whatever else they hear makes them look for runs.
RELOAD, LOOK, PAUSE, CANCEL = "reload", "look", "pause", "cancel"

log = logging.getLogger("clockmill.messages")


def shout(mill: Mill, word: str, about: object = "") -> bool:
    """Says `word` and what it is about; False when there is no broker or nobody heard it."""
    url = broker_url(mill)
    if not url:
        return False
    publisher = Publisher(url, "clockmill broadcast")
    try:
        return publisher.send([Letter(f"{word} {about}".strip(), BROADCAST, "", content_type="text/plain")]) == [""]
    except BrokerUnavailable as e:
        log.debug("%s", e)
        return False
    finally:
        publisher.close()
