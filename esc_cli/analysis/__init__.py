"""Analyses of networks: the similarity of attention layers, and the pixels that a result depends on."""
