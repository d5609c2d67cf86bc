"""`python -m segtrain` is the `segtrain` command."""

import sys

from segtrain.process import working_folder

if __name__ == "__main__":
    working_folder.take_off_path()  # before anything else is imported: `python -m` puts it first
    from segtrain.cli.main import main

    sys.exit(main())
