"""Settings are in setup.cfg; here is what has to be said before anything is fetched.

pip up to 23 looks at python_requires after the requirements, of which torch is gigabytes.
"""

import os
import sys

from setuptools import setup

if sys.version_info < (3, 11) and not os.environ.get("PIP_IGNORE_REQUIRES_PYTHON"):
    sys.exit("sb3_isaac needs Python 3.11 or newer, for MuJoCo 4 does, and this is Python {}.{}: make the virtual "
             "environment with a newer one, see docs/troubleshooting.md.".format(*sys.version_info))
setup()
