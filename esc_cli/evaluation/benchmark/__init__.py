"""Speed, memory and agreement of executors, measured side by side."""
