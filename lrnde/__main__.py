"""`python -m lrnde`: the command line."""

from lrnde_cli import main

if __name__ == "__main__":
    main()
