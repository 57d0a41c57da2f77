"""How images are drawn from noise: one sampler a file."""
