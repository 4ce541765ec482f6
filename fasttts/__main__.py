"""`python -m fasttts` is the command `fasttts`."""

from fasttts.cli import main

if __name__ == "__main__":  # processes that are spawned import this module as well
    main()
