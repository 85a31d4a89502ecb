"""What the networks attend to: how alike their attention layers are, and which pixels a result comes from."""
