"""What a user can cause. Each error says the file or key, what was seen, and what is allowed or to be done."""

from db.errors import did_you_mean

__all__ = [
    "BrokerUnavailable",
    "ClockmillError",
    "ConfigError",
    "FeedError",
    "FetchError",
    "JobError",
    "ProviderError",
    "Refused",
    "ScheduleError",
    "UsageError",
    "did_you_mean",
]


class ClockmillError(Exception):
    """The root: one sentence for a person, and the exit code of the command that meets it."""

    exit_code = 1


class UsageError(ClockmillError):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key is unknown, or its value is not allowed."""


class ScheduleError(UsageError):
    """A schedule cannot be read; the message names its field."""


class JobError(ClockmillError):
    """A job fails for a reason that its author foresaw: the sentence is the run's reason, without a traceback."""


class FetchError(JobError):
    """A document could not be fetched."""


class FeedError(JobError):
    """A document is not a feed that can be read."""


class ProviderError(JobError):
    """A weather provider's answer cannot be used."""


class BrokerUnavailable(ClockmillError):
    """The broker does not answer, or refuses us. What is to be told stays in the outbox."""


class Refused(ClockmillError):
    """The run may not start now: the job is paused, or another run of it is in the way."""

    exit_code = 75
