"""Tiny random-weight checkpoints in the layouts that diffusers reads, built offline in seconds.

They draw noise, but through the very pipelines, tokenizers and file layouts of the large models: what loads and runs
one of these loads and runs the real thing. The same family always gives the same bytes.

    python -m tools.tiny_models OUT_DIR [FAMILY ...]
"""
