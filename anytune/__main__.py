"""The door: `anytune` and `python -m anytune` come in here, so that Ctrl-C is quiet from the first import on."""

import gc
import os
import sys


def main() -> None:
    """Run the command line and end the process."""
    # What a command makes as it starts lives to its end: nothing is gained by searching it for garbage, which takes
    # 0.03 s each time. A plan for all providers makes about 150,000 objects.
    gc.set_threshold(200_000, 20, 20)
    # Plug-ins of pydantic watch values; nobody asked for one here, and to look for them costs a tenth of a check.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from anytune.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # the end of the process frees all at once: Python need not search it before


if __name__ == "__main__":
    main()
