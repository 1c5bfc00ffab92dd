"""Clips: the wanted stretches of a drive as MCAP files of their own."""

import dataclasses
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from admlops.checks.findings import FindingLog
from admlops.collection.clip_blur import MessageBlur
from admlops.collection.clip_store import Clip, ClipStore
from admlops.collection.following import TriggerFollower
from admlops.collection.triggers import Window
from admlops.errors import DataError
from admlops.files import digest_file
from admlops.recordings.decoding import CAMERA_INFO
from admlops.recordings.messages import RawMessage, Topic
from admlops.recordings.recorder import RosRecorder
from admlops.recordings.stream import EventStream

_MAX_LASTING = 256
"""Messages that are repeated at the start of a clip, at most."""


@dataclass
class ClipRecorder:
    """Follows one recording message by message and writes clips of it.

    Messages wait in a buffer of `before_s` and at most `buffer_bytes`; those of an open window
    are written as they come. A clip begins with what holds for the whole drive: intrinsics and
    static transforms. Messages are copied as they are, of all topics, unless images are blurred:
    then nothing is written that was not judged, and a clip with an image that cannot be is given up
    (PRIV002).

    Attributes:
        events: of the drive; its config was filled in by `complete`.
        follower: the triggers, at the drive's start.
        store: where clips go.
        blur: what is blurred in images; None leaves all messages as they are.
        clock_shift_ns: by how much log times are ahead of the sensors' clock, by which windows go;
            clips have the sensors' time. It is not the latency, which is too small to matter.
        max_buffered_bytes: the most that the buffer held.
        windows: what triggers asked for so far.
        log: which clips were given up, and what was left out of others (PRIV002, PRIV003).
    """

    events: EventStream
    follower: TriggerFollower
    store: ClipStore
    blur: MessageBlur | None = None
    clock_shift_ns: int = 0
    max_buffered_bytes: int = 0
    windows: list[Window] = field(default_factory=list)
    log: FindingLog = field(default_factory=FindingLog)
    _open: "_OpenClip | None" = field(init=False, default=None)
    _left_out: Counter[Topic] = field(init=False, default_factory=Counter)

    def run(self, check: Callable[[], None] = lambda: None) -> list[Clip]:
        """Read the recording once; return the clips that were made of it, kept or not.

        Args:
            check: is called at every message; what it raises ends the recording of clips.
        """
        triggers, engine = self.follower.config, self.follower.engine
        span_ns = round(triggers.before_s * 1e9)
        static_topic = self.events.config.static_transform_topic
        buffer = _Buffer(span_ns, triggers.buffer_bytes, static_topic)
        clips: list[Clip] = []
        try:
            for recorded in self.events.recording.messages():
                check()
                event, message = self.events.decode(recorded), self._on_sensors_clock(recorded)
                closed = engine.advance(message.log_time_ns)
                closed += [] if event is None else self.follower.update(event)
                clips += self._finish(closed, buffer)
                buffer.push(message)
                if engine.open_window is not None:
                    self._write(engine.open_window, buffer)
            clips += self._finish(engine.finish(), buffer)
        finally:
            if self._open is not None:
                self._open.discard()
                self._open = None
        self.max_buffered_bytes = buffer.max_bytes
        for topic, count in self._left_out.items():
            where = f"{self.events.recording.name} {topic.name}"
            self.log.add("PRIV003", where, f"{count} messages of type {topic.type_name}")
        return clips

    def _on_sensors_clock(self, message: RawMessage) -> RawMessage:
        if not self.clock_shift_ns:
            return message
        time_ns = max(0, message.log_time_ns - self.clock_shift_ns)
        return dataclasses.replace(message, log_time_ns=time_ns)

    def _write(self, window: Window, buffer: "_Buffer", *, is_last: bool = False) -> "_OpenClip":
        """Write what the buffer holds of a window and is not written yet."""
        if self._open is None:
            path = self.store.folder / f"{self.events.recording.name}-{window.start_ns}.mcap"
            self._open = _OpenClip(path, is_cut=buffer.lost_ns >= window.start_ns)
            self._open.next_number = buffer.num_pushed - len(buffer)
            for message in buffer.lasting():
                self._copy(message, self._open, window.start_ns)
        if self._open.next_number < buffer.num_pushed - len(buffer):
            self._open.is_cut = True
            self._open.next_number = buffer.num_pushed - len(buffer)
        for message in buffer.since(self._open.next_number):
            if message.log_time_ns > window.end_ns and not is_last:
                break
            if window.holds(message.log_time_ns):
                self._copy(message, self._open, message.log_time_ns)
            self._open.next_number += 1
        return self._open

    def _copy(self, message: RawMessage, clip: "_OpenClip", log_time_ns: int) -> None:
        """Write a message, with its image blurred; give the clip up where that cannot be done."""
        if clip.is_given_up:
            return
        kept: RawMessage | None = message
        try:
            kept = message if self.blur is None else self.blur.apply(message)
        except DataError as error:
            clip.discard()
            where = f"{self.events.recording.name} {message.topic.name} at {log_time_ns} ns"
            self.log.add("PRIV002", where, f"{error}; {clip.path.name} was not written")
            return
        if kept is None:
            self._left_out[message.topic] += 1
        else:
            clip.write(kept, log_time_ns)

    def _finish(self, windows: Iterable[Window], buffer: "_Buffer") -> Iterator[Clip]:
        """Finish the clips of windows, and yield those that were not given up."""
        for window in windows:
            clip = self._write(window, buffer, is_last=True)
            if not clip.is_given_up:
                clip.finish()
            self._open = None
            self.windows.append(window)
            if not clip.is_given_up:
                yield self._take_in(clip, window)

    def _take_in(self, clip: "_OpenClip", window: Window) -> Clip:
        made = Clip(
            file=clip.path.name,
            digest=digest_file(clip.path),
            log=self.events.recording.name,
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            value=window.value,
            fired=dict(sorted(window.fired.items())),
            num_bytes=clip.path.stat().st_size,
            is_cut=clip.is_cut,
            privacy="" if self.blur is None else self.blur.provenance,
        )
        self.store.add(made)
        return made


class _Buffer:
    """The last messages, in the order of writing, bounded in time and bytes.

    Attributes:
        num_pushed: messages so far.
        lost_ns: time of the last message that went for want of room.
        max_bytes: the most that it held.
    """

    def __init__(self, span_ns: int, max_bytes: int, static_topic: str) -> None:
        self._static_topic = static_topic
        self.num_pushed = 0
        self.lost_ns = -(2**62)
        self.max_bytes = 0
        self._span_ns = span_ns
        self._limit = max_bytes
        self._held: deque[RawMessage] = deque()
        self._num_bytes = 0
        self._lasting: dict[tuple[str, bytes], RawMessage] = {}

    def __len__(self) -> int:
        """Return how many messages it holds."""
        return len(self._held)

    def push(self, message: RawMessage) -> None:
        """Add a message; the oldest go."""
        kept = dataclasses.replace(message, data=bytes(message.data))
        self._note_lasting(kept)
        self._held.append(kept)
        self._num_bytes += len(kept.data)
        self.num_pushed += 1
        while self._held[0].log_time_ns < message.log_time_ns - self._span_ns:
            self._num_bytes -= len(self._held.popleft().data)
        while self._num_bytes > self._limit and len(self._held) > 1:
            gone = self._held.popleft()
            self._num_bytes -= len(gone.data)
            self.lost_ns = max(self.lost_ns, gone.log_time_ns)
        self.max_bytes = max(self.max_bytes, self._num_bytes)

    def since(self, number: int) -> Iterator[RawMessage]:
        """Yield the messages that it holds from a number on."""
        start = max(0, number - (self.num_pushed - len(self._held)))
        for place in range(start, len(self._held)):  # a slice would walk there from the first
            yield self._held[place]

    def lasting(self) -> list[RawMessage]:
        """Return what holds for the whole drive so far: static transforms and intrinsics."""
        return list(self._lasting.values())

    def _note_lasting(self, message: RawMessage) -> None:
        topic = message.topic
        if topic.type_name == CAMERA_INFO:
            self._lasting[topic.name, b""] = message
        elif topic.name == self._static_topic and len(self._lasting) < _MAX_LASTING:
            self._lasting.setdefault((topic.name, bytes(message.data)), message)


class _OpenClip:
    """A clip that is being written; its file appears when it is finished.

    Attributes:
        path: where it will be.
        is_cut: whether its begin was lost.
        next_number: number of the first message that was not looked at.
        is_given_up: whether it was discarded.
    """

    def __init__(self, path: Path, *, is_cut: bool) -> None:
        self.path = path
        self.is_cut = is_cut
        self.next_number = 0
        self.is_given_up = False
        self._draft = path.with_name(f".{path.name}")
        self._file = self._draft.open("wb")
        self._recorder = RosRecorder(self._file, profile="")

    def write(self, message: RawMessage, log_time_ns: int) -> None:
        """Write a message as it is."""
        self._recorder.copy(message.topic, log_time_ns, bytes(message.data))

    def finish(self) -> None:
        """Write index and footer; the file appears."""
        self._recorder.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._draft, self.path)

    def discard(self) -> None:
        """Remove what was written."""
        self.is_given_up = True
        self._file.close()
        self._draft.unlink(missing_ok=True)
