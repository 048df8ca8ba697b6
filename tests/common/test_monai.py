"""MONAI is imported for a user of whom the system knows a number alone, as in a container."""

import os
import subprocess
import sys

import pytest

CODE = """\
import pwd
pwd.getpwuid = {}.__getitem__
import numpy as np
from spider_utils.evaluate.boundaries import boundary_distances
one, other = np.zeros((2, 20, 20), bool)
one[5:15, 5:15] = other[5:15, 7:17] = True
print(boundary_distances(one, other).hd95)"""


@pytest.mark.slow
def test_a_user_without_a_name_gets_distances():
    names = ("LOGNAME", "USER", "LNAME", "USERNAME")  # those that Python asks before the system
    known = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=known)
    assert done.stdout == "2.0\n", done.stderr
