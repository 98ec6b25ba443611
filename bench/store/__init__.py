"""Benchmarks of the job queue: against huey and raw commits, and with a million ended jobs."""
