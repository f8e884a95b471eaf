"""`python -m nut_runtime`, where scripts are not on the path."""

from nut_runtime.cli import main

if __name__ == "__main__":
    main(prog_name="nut-runtime")
