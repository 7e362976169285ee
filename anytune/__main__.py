"""The door: `anytune` and `python -m anytune` come in here, so that Ctrl-C is quiet from the first import on."""

import sys


def main() -> None:
    """Run the command line and end the process."""
    try:
        from anytune.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
