"""What runs a network: torch, OpenVINO, and what makes each of them fast."""
