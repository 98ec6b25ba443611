"""Build the named families, or all, into OUT_DIR, one folder each."""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.tiny_models.build import FAMILIES, build


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_models", description=__doc__)
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    parser.add_argument("families", nargs="*", choices=[[], *FAMILIES], metavar="FAMILY", default=[])
    arguments = parser.parse_args()
    for family in arguments.families or FAMILIES:
        print(build(family, arguments.out_dir))


if __name__ == "__main__":
    main()
