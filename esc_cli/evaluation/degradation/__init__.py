"""How low-resolution pictures are made: by the published protocol, or degraded as in the wild."""
