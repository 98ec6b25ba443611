"""What a GPU makes of the large families, by our engine and by a plain diffusers script, in one run."""
