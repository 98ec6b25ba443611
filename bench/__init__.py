"""Benchmarks. Each compares two things side by side in one run, because absolute figures do not travel.

    python -m bench                 all of them
    python -m bench overhead        one of them

The figures that matter are kept in docs/BENCHMARKS.md.
"""
