"""Make low-resolution pictures: with the published protocol, or degraded like pictures in the wild."""
