"""Tiny random-weight checkpoints in the layouts that diffusers reads, built offline in seconds.

They generate noise, but with the same pipelines, tokenizers and file layouts as the large models: code that runs one of
these also runs the real model. Builds are reproducible byte for byte.

    python -m tools.tiny_models OUT_DIR [FAMILY ...]
"""
