"""The base class of formats whose values are light, beyond the white of a screen."""

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image
from PIL.ImageFile import ImageFile

from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.pillow import Opened, is_gray
from esc_cli.media.pixels.bits import FLOAT_BITS

if TYPE_CHECKING:
    from esc_cli.media.color.profiles import Primaries
    from esc_cli.media.probe import Probe

_MODES = {(True, False): "F", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}


class LightFile(ImageFile):
    """An opened file of light, which Pillow cannot decode.

    Attributes:
        primaries: The primaries that the file states; None if it states none.
        notes: Sentences about what is not read.

    Args:
        file: The file.
        name: Name of the file in messages.
    """

    primaries: "Primaries | None" = None
    notes: tuple[str, ...] = ()

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name_in_messages = name
        super().__init__(file)

    def _set(self, height: int, width: int, *, gray: bool, alpha: bool) -> None:
        self._size, self._mode = (width, height), _MODES[gray, alpha]


class LightFormat(PictureFormat):
    """A format of floats that are light."""

    scene_linear = True
    reading_memory = 7.0
    depths_bits = (FLOAT_BITS,)

    def depth_bits(self, opened: Opened) -> int:
        """Return the number that stands for floats."""
        return FLOAT_BITS

    def is_floating(self, opened: Opened) -> bool:
        """Return True."""
        return True

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return True, because Pillow does not read the format."""
        return True

    def orientation(self, image: Image.Image) -> int:
        """Return 1: the format has no orientation, or its reader applies it."""
        return 1

    def companions(self, opened: Opened) -> Iterator[str]:
        """Yield what was left out."""
        yield from cast(LightFile, opened.image).notes

    def signalled_profile(self, image: Image.Image, header: bytes) -> bytes | None:
        """Return the profile of light with the primaries of the file, by default those of sRGB."""
        from esc_cli.media.color.light import light_profile

        return light_profile(getattr(image, "primaries", None), gray=is_gray(image))

    def limitations(self, probe: "Probe") -> Iterator[str]:
        """Yield a note if the colors of a picture for a screen are converted to light."""
        if not probe.floating:
            yield f"the picture is converted to light with the primaries of sRGB: {self.name} holds light"

    def pixel_options(self, picture: Any, quality: int | None) -> dict[str, Any]:
        """Return no options, because Pillow does not write the format."""
        return {}
