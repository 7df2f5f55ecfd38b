"""`python -m mdap` is the command `mdap`."""

from mdap.cli import main

if __name__ == "__main__":
    main()
