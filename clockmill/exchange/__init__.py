"""Messages: events out and in, commands to workers, over one topology in RabbitMQ.

SQL stays the scheduler; the broker only carries. What is told outside is written into the outbox by the transaction it
tells of; what comes in is recorded in the inbox by the transaction that acts on it.
"""
