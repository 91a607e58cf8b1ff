"""stand-ins.py SITE-PACKAGES/torch: PyPI's PyTorch for Linux wants NVIDIA's libraries at import even where only the processor is used.
Writes small libraries that export what it looks for and answer "no device" to each call, so that 3 GB need not be fetched."""

import collections
import glob
import re
import subprocess
import sys

NO_DEVICE = 100
lib = sys.argv[1] + "/lib"


def run(*command, **how):
    return subprocess.run(command, capture_output=True, text=True, check=True, **how).stdout


def wanted():
    """library -> {symbol: version} of what the libraries of PyTorch look for in libraries that are not there."""
    need, bare, have = collections.defaultdict(dict), set(), set()
    for f in glob.glob(lib + "/*.so*") + glob.glob(lib + "/../*.so"):
        for so in re.findall(r"NEEDED.*\[(lib(?:cu|nv|nccl)\S+)\]", run("readelf", "-dW", f)):
            need[so].update({})
        owner, current = {}, None
        for library, version in re.findall(r"File: (\S+)|Name: (\S+)  Flags", run("readelf", "-VW", f)):
            current = library or current
            if version:
                owner[version] = current
        for line in run("nm", "-D", f).splitlines():
            *_, kind, symbol = line.split()
            symbol, _, version = symbol.partition("@")
            if kind not in "Uw":
                have.add(symbol)
            elif version in owner:
                need[owner[version]][symbol] = version
            elif not version:
                bare.add(symbol)
    need = {so: s for so, s in need.items() if re.match("lib(cu|nv|nccl)", so) and so != "libcuda.so.1"}
    for so in need:
        have.update(need[so])
    runtime = "libcudart.so." + re.search(r"libcudart.so.(\d+)", str(list(need)))[1]
    need[runtime].update({s: "" for s in bare - have if re.match("cu|nccl|nv|__cuda|_Z.*nvshmem", s)})
    return need


def function(symbol):
    if re.search("(String|Name|ncclGetLastError)$", symbol):
        return 'const char *%s(void){return "no CUDA: stand-in";}\n' % symbol
    return "int %s(void){return %d;}\n" % (symbol, NO_DEVICE)


for so, symbols in wanted().items():
    versions = "".join("%s{global:%s;};" % (v, ";".join(s for s in symbols if symbols[s] == v)) for v in set(symbols.values()) if v)
    script = lib + "/stand-in.map"
    with open(script, "w", encoding="ascii") as out:
        out.write(versions)
    link = ["-Wl,--version-script=" + script] if versions else []
    run("gcc", "-w", "-shared", "-fPIC", "-fno-builtin", "-xc", "-", "-o", lib + "/" + so, "-Wl,-soname," + so, *link,
        input="".join(function(s) for s in symbols))
