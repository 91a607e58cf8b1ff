"""proxied.py [FAULT]: the stand-in of LM Studio with `joulet serve` in front of it, as one program that behaves like the stand-in:
prints an address, that of the proxy, and ends with its input. PROXIED=JOULET|MOCK names both."""

import os
import subprocess
import sys

joulet, mock = os.environ["PROXIED"].split("|")
with subprocess.Popen([mock, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as upstream:
    url = upstream.stdout.readline().strip()
    serve = [joulet, "serve", "--listen", "127.0.0.1:0", "--upstream", url]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as front:
        print(front.stdout.readline().split(" -> ")[0], flush=True)
        sys.stdin.read()
        front.terminate()
        front.stdout.read()
        code = front.wait()
    upstream.stdin.close()
sys.exit(code)
