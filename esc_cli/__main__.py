"""Run the command ``esc-upscale`` as ``python -m esc_cli``."""

from esc_cli.cli.main import main

if __name__ == "__main__":
    main()
