"""From a network to an upscaler: device, precision, memory, tiles and retries. Tensors in, tensors out."""
