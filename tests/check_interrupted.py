"""Ends tools/check by a signal while it builds ahead, in a folder where nothing is really built: that build must end with it.

Usage: check_interrupted.py ROOT-OF-THE-SOURCES
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 120

BUILD = """#!/bin/sh
[ "$1" = address ] || exit 0
echo $$ >"$FOLDER/building.new"
mv "$FOLDER/building.new" "$FOLDER/building"
sleep 600
"""
CTEST = """#!/bin/sh
: >"$FOLDER/testing"
exec sleep 600
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def wait_for(what):
    until = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > until:
            raise SystemExit("nothing happened in time")
        time.sleep(0.02)


def runs(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def one(sources, number):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copytree(sources / "tools", folder / "tools")
        write(folder / "tools/setup", "#!/bin/sh\n")
        write(folder / "tools/build", BUILD)
        write(folder / "build/default/cli/joulet", "#!/bin/sh\n")
        write(folder / "bin/ctest", CTEST)
        write(folder / "tests/longest", "")
        env = {**os.environ, "FOLDER": name, "PATH": f"{name}/bin:{os.environ['PATH']}"}
        check = subprocess.Popen([folder / "tools/check"], env=env, start_new_session=True, stdout=subprocess.DEVNULL,
                                 preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        wait_for(lambda: (folder / "building").exists() and (folder / "testing").exists())
        building = int((folder / "building").read_text())
        os.killpg(check.pid, number)
        code = check.wait(PATIENCE_S)
        until = time.monotonic() + 30
        while runs(building) and time.monotonic() < until:
            time.sleep(0.02)
        left = runs(building)
        if left:
            os.killpg(os.getpgid(building), signal.SIGKILL)
        if left or code != 128 + number:
            raise SystemExit(f"signal {number}: tools/check ended with {code}, and its build {'goes on' if left else 'ended'}")


for one_of in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    one(pathlib.Path(sys.argv[1]), one_of)
