"""Checkpoints: reading weight files, recognizing their networks, and finding the shipped models."""
