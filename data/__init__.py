"""Where the batches come from: each batch is a pure function of a seed and the global step."""
