"""Run the command line by `python -m anytune`."""

from anytune.cli import main

if __name__ == "__main__":
    main()
