"""check_lmstudio.py py|mjs JOULET MOCK_LMSTUDIO: LM Studio's own client of Python or JavaScript, unchanged, through `joulet serve` in
front of the stand-in: the checks of tests/llm/check_lmstudio_sdk.* with the proxy between.

Skipped (77) where the client is not installed. JOULET_CLIENTS_TABLE and JOULET_CLIENTS_WANTED as in check_clients.py."""

import os
import shutil
import subprocess
import sys
import tempfile

from engines import CACHE, HERE

CHECK = os.path.join(os.path.dirname(HERE), "llm", "check_lmstudio_sdk.")
NAMES = {"py": "lmstudio (Python)", "mjs": "@lmstudio/sdk (JavaScript)"}
ASKED = "lists, load, prediction, progress, thinking, an error"


def main(language, joulet, mock):
    python = os.path.join(CACHE, "clients/py/bin/python")
    env = {k: v for k, v in os.environ.items() if not k.startswith("JOULET_")}
    with tempfile.TemporaryDirectory() as folder:
        env.update({f"JOULET_{k}_DIR": folder for k in ("DATA", "CONFIG", "CACHE")})
        env.update(JOULET_LMSTUDIO_SDK_JS=os.path.join(CACHE, "clients/js"), PROXIED=f"{joulet}|{mock}")
        runner = shutil.which("node") if language == "mjs" else python if os.access(python, os.X_OK) else sys.executable
        front = [sys.executable, os.path.join(HERE, "proxied.py")]
        status = subprocess.run([runner, CHECK + language, *front], env=env, check=False).returncode if runner else 77
    what = {0: "ran", 77: "skipped"}.get(status, "FAILED")
    row = f"| {NAMES[language]} | LM Studio's stand-in | {what} | {ASKED if status != 77 else 'not installed here'} |"
    print(row)
    table = os.environ.get("JOULET_CLIENTS_TABLE")
    if table:
        with open(table, "a", encoding="utf-8") as f:
            f.write(row + "\n")
    return 1 if status == 77 and os.environ.get("JOULET_CLIENTS_WANTED") else status


sys.exit(main(*sys.argv[1:]))
