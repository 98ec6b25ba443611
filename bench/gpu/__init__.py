"""GPU benchmarks of the large families: our engine against a plain diffusers script, in one run."""
