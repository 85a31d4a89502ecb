"""Colors of files: profiles, signalling, conversion to sRGB."""
