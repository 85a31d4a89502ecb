"""Convert CMYK and Lab to sRGB, and say how before the work; torch is not loaded."""

import io

from PIL import Image, ImageCms

from esc_cli.media.pillow import PILLOW_ERRORS


def conversion_note(space: str | None, profile: bytes | None) -> str | None:
    """Return the note on a color conversion; None for gray and RGB, which are not converted.

    Args:
        space: See `PictureFormat.converted_space`.
        profile: Color profile of the picture, which may be damaged or for other colors.
    """
    if space == "LAB":
        return "Lab colors were converted to sRGB"
    if space != "CMYK":
        return None
    if _transform(profile) is None:
        return "CMYK without a usable color profile was converted with a simple formula"
    return "CMYK was converted to sRGB through its color profile"


def cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture through its color profile, or with a simple formula if that is not usable."""
    transform = _transform(image.info.get("icc_profile"))
    return image.convert("RGB") if transform is None else transform.apply(image)


def lab_to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture of Pillow's mode LAB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    # Without this flag littlecms computes with a coarse table, and is wrong by up to 8.6 of 255.
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
    return transform.apply(image)


def _transform(profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion from a profile to sRGB; None if it is missing, damaged or not for CMYK."""
    if not profile:
        return None
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            "CMYK",
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Relative colorimetric alone would crush the shadows: ink's black is lighter than a display's.
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, *PILLOW_ERRORS):
        return None
