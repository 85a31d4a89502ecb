"""Pages that show pictures in a browser, one over another with a slider between them."""
