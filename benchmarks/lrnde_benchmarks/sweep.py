"""`python -m lrnde_benchmarks.sweep`: the cross-validation behind the library's defaults."""

from lrnde_benchmarks._commands._sweep import main

if __name__ == "__main__":
    main()
