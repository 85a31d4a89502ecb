"""Choose the precision, the attention backend and the runtime by measuring them on this machine."""
