"""``python -m esc_cli`` is the command ``esc-upscale``."""

from esc_cli.cli.main import main

if __name__ == "__main__":
    main()
