"""Nothing of the Wi-Fi is loaded where there is no access point."""

import subprocess
import sys

SCRIPT = """
import sys
import edgegate.app, edgegate.config, edgegate.status, edgegate.cli
loaded = [m for m in sys.modules if m == "edgegate.radius" or m.startswith("edgegate.wifi.")]
libraries = sorted({"argon2", "OpenSSL", "pyrad"} & set(sys.modules))
print(loaded, libraries)
"""


def test_the_daemon_without_wifi_loads_nothing_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[] []", "")
