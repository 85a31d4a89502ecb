"""Format durations for people."""


def duration(seconds: float) -> str:
    """Format an estimated duration, rounded because it is only an estimate."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
