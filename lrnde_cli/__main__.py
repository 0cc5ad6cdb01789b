"""`python -m lrnde_cli`: the command `lrnde`."""

from lrnde_cli._main import main

if __name__ == "__main__":
    main()
