"""How the scripts of this folder begin and end: errors are one line that names the command, and status 2."""

import os
import subprocess
import sys


def run_script(main):
    """Runs a script, whose status `main` returns; None is 0."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        fail(error)


def fail(reason):
    # What is called is the script around this one.
    script = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{script}.sh: {reason}", file=sys.stderr)
    sys.exit(2)
