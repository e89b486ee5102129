from clockmill.schedule.schedule import Schedule, parse

__all__ = ["Schedule", "parse"]
