"""Color management: ICC profiles, other color information in files, and conversion to sRGB."""
