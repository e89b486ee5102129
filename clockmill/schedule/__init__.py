from clockmill.schedule.local_zone import local_timezone
from clockmill.schedule.schedule import Schedule, parse

__all__ = ["Schedule", "local_timezone", "parse"]
