"""Clients that other people wrote, unmodified, against a running server: `make clients`."""
