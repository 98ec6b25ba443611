"""The built-in model: its pictures, captions, training, export and evaluation (see README.md here)."""
