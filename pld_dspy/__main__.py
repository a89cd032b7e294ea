"""``python -m pld_dspy`` is the ``pld-dspy`` command."""

from .cli.app import main

if __name__ == "__main__":
    main()
