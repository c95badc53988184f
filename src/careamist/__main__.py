"""``python -m careamist``."""

from careamist.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
