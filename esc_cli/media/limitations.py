"""Find what a result cannot keep of its source, from the source's header and before any work."""

from collections.abc import Iterator, Set

from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.fitting import limitation_of, parts_held
from esc_cli.media.metadata.kinds import Held
from esc_cli.media.pixels.bits import FLOAT_BITS
from esc_cli.media.probe import Probe


def limitations(probe: Probe, format: PictureFormat, keep: Set[Held]) -> tuple[str, ...]:
    """List everything that a format cannot hold of a picture.

    Args:
        probe: Header information of the source.
        format: Format of the result.
        keep: The parts of the metadata that the user wants.

    Returns:
        One sentence for each loss, without a full stop. Losses from reading come first.
    """
    return (
        *probe.notes,
        *_of_pictures(probe, format),
        *_of_transparency(probe, format),
        *format.limitations(probe),
        *_of_depth(probe, format),
        *_of_metadata(probe, format, keep),
    )


def _of_pictures(probe: Probe, format: PictureFormat) -> Iterator[str]:
    if probe.several is None or probe.several == format.several:
        return
    if format.several is None:
        yield f"only the first of {probe.frames} {probe.several} is kept: {format.name} holds one picture"
    elif probe.several == "pages":
        yield f"only the first of {probe.frames} pages is kept: {format.name} cannot hold pages"
    else:
        yield f"the timing of {probe.frames} frames is lost: {format.name} holds them as pages"


def _of_transparency(probe: Probe, format: PictureFormat) -> Iterator[str]:
    if probe.alpha and not format.alpha:
        yield f"{format.name} cannot hold transparency: transparent areas are blended with white"


def _of_depth(probe: Probe, format: PictureFormat) -> Iterator[str]:
    most = max((bits for bits in format.depths_bits if bits != FLOAT_BITS), default=FLOAT_BITS)
    source = FORMATS.get(probe.format)
    if probe.floating and FLOAT_BITS not in format.depths_bits:
        is_light = source is not None and source.scene_linear
        light = "light is converted to sRGB, what is brighter than white becomes white"
        change = light if is_light else f"floats are converted to {most} bits per channel"
        no_number = "becomes transparent" if format.alpha else "becomes white"
        yield f"{change}, and NaN {no_number}: {format.name} cannot hold floats"
    elif not probe.floating and probe.depth_bits > most:
        yield f"{probe.depth_bits} bits per channel are reduced to {most}: {format.name} cannot hold more"


def _of_metadata(probe: Probe, format: PictureFormat, keep: Set[Held]) -> Iterator[str]:
    lost = (probe.parts & keep) - parts_held(format, keep)
    yield from (limitation_of(part, format) for part in sorted(lost))
    for part in sorted(probe.parts & keep & format.holds):
        if not format.has_room(part, probe.part_sizes.get(part, 0)):
            yield limitation_of(part, format, too_large=True)
    if probe.fixed_note and format.moves_exif and "exif" in keep:
        yield f"{format.name} cannot hold the maker note, which is valid only at its place in EXIF"
    held = "icc_profile" in probe.parts & keep & format.holds
    if held and probe.gray and format.stores_gray_as_rgb(alpha=probe.alpha, depth_bits=probe.depth_bits):
        yield f"the picture is converted to sRGB: {format.name} stores gray as RGB, but the profile is gray"
