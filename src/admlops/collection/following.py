"""Follows triggers through the events of one drive, once for frames and clips alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from admlops.analysis.requirement import RequirementCell
from admlops.collection.signals import SignalTracker
from admlops.collection.triggers import TriggerConfig, TriggerEngine, Window
from admlops.recordings.events import LidarEvent, SensorEvent
from admlops.recordings.stream import EventStream
from admlops.structures.boxes import Boxes

Look = Callable[[LidarEvent], Boxes | None]
"""Says what a detector sees in a sweep, in the ego frame; None where it did not look."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What triggers know beside the signals of a drive.

    Attributes:
        tags: conditions of the whole drive.
        gaps: cells of the requirement that the dataset does not fill.
        look: asks a detector about a sweep of the main lidar; None where there is no detector.
    """

    tags: tuple[str, ...] = ()
    gaps: Sequence[RequirementCell] = ()
    look: Look | None = None


@dataclass
class TriggerFollower:
    """Turns the events of one drive, in their order, into the windows that triggers ask for.

    Attributes:
        config: the triggers.
        main_lidar: our name of the lidar whose sweeps are looked at.
        surroundings: what else is known.
        engine: knows the window that may still grow.
    """

    config: TriggerConfig
    main_lidar: str
    surroundings: Surroundings = field(default_factory=Surroundings)

    def __post_init__(self) -> None:
        """Start a drive."""
        self.engine = TriggerEngine(self.config, self.surroundings.gaps)
        self._tracker = SignalTracker(self.config.max_age_s, frozenset(self.surroundings.tags))

    def update(self, event: SensorEvent) -> list[Window]:
        """Return the windows that an event completed."""
        if isinstance(event, LidarEvent) and event.sensor == self.main_lidar:
            look = self.surroundings.look
            seen = self._tracker.see(event.stamp_ns, None if look is None else look(event))
        else:
            found = self._tracker.update(event)
            if found is None:
                return []
            seen = found
        return self.engine.update(seen)


def find_windows(
    events: EventStream, follower: TriggerFollower, check: Callable[[], None]
) -> list[Window]:
    """Return the stretches of a drive that triggers ask for, reading it once.

    Args:
        events: of the drive.
        follower: at the drive's start.
        check: is called at every event; what it raises ends the search.
    """
    found: list[Window] = []
    for event in events:
        check()
        found += follower.update(event)
    return found + follower.engine.finish()
