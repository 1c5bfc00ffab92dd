"""Blurs images in the messages that a clip takes in, and leaves out what nobody can judge."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from admlops.collection.privacy import FrameBlur
from admlops.errors import DataError
from admlops.recordings.config import RecordingConfig
from admlops.recordings.decoding import COMPRESSED_IMAGE, DECODED_TYPES, IMAGE, decode
from admlops.recordings.encoding import encode_compressed_image, encode_raw_image
from admlops.recordings.events import ImageEvent
from admlops.recordings.images import image_pixels
from admlops.recordings.messages import RawMessage

_IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)


class MessageBlur:
    """Says what of a message a clip may hold.

    Images of mapped cameras are blurred. Of other messages those stay whose type holds no image;
    the others, images of cameras that are not mapped among them, are left out.
    """

    def __init__(
        self, blur: FrameBlur, config: RecordingConfig, clip_types: tuple[str, ...] = ()
    ) -> None:
        """Take what blurs and what is known of messages.

        Args:
            blur: blurs images.
            config: says which topics are which cameras.
            clip_types: types that hold no image, beside those that are read.
        """
        self._blur = blur
        self._cameras = {camera.topic: camera.sensor for camera in config.cameras}
        self._harmless = {*DECODED_TYPES, *clip_types}.difference(_IMAGE_TYPES)

    @property
    def provenance(self) -> str:
        """The settings and the digest of the detector, as JSON."""
        return self._blur.provenance

    def apply(self, message: RawMessage) -> RawMessage | None:
        """Return a message with its image blurred; None if it is left out.

        Raises:
            DataError: its image cannot be decoded, judged or encoded.
        """
        topic = message.topic
        if topic.type_name in self._harmless:
            return message
        if topic.type_name in _IMAGE_TYPES and topic.name in self._cameras:
            event = decode(message, self._cameras[topic.name])
            if not isinstance(event, ImageEvent):
                raise DataError(f"no image on {topic.name!r}")
            data = self._blurred(event, topic.encoding)
            return message if data is None else dataclasses.replace(message, data=data)
        return None

    def _blurred(self, event: ImageEvent, encoding: str) -> bytes | None:
        """Return a message with the blurred image; None where nothing is to be blurred."""
        if not len(event.data):
            return None
        if event.is_compressed:
            encoded = bytes(event.data)
            blurred = self._blur.blur_file(encoded)
            if blurred == encoded:
                return None
            return encode_compressed_image(event.stamp_ns, event.frame_id, blurred, encoding)
        pixels = self._blur.blur(_colours(image_pixels(event)))
        if pixels is None:
            return None
        return encode_raw_image(event.stamp_ns, event.frame_id, pixels, encoding)


def _colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) of an image that may be gray."""
    return np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels
