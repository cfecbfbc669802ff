"""Memory kept between uses: the system gives no new pages for what was freed."""

import subprocess
import sys

import pytest

PROBE = """
import resource
import numpy as np
from vitscale.scaling.host_memory import keep_freed_memory
if KEEP: assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100 << 17)  # 100 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_freed_memory_comes_back_without_page_faults():
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", f"KEEP={keep}\n{PROBE}"], text=True))
        for keep in (True, False)
    )
    # Pages may be huge ones of 2 MiB, 50 of them; kept memory takes none of either size.
    assert kept < 10 < given_back
