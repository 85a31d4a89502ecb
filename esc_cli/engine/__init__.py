"""The upscaling engine: device, precision, memory, tiling and retries. It takes and returns tensors."""
