"""check_faults.py ROOT: docs/troubleshooting.md has every fault sentence of the sources, word for word, and no other."""
import os
import re
import sys

import fault_sentences


def document(root):
    """Sentences by entry, in the order of the page."""
    entries, name = {}, None
    with open(os.path.join(root, "docs", "troubleshooting.md"), encoding="utf-8") as f:
        for line in f.read().split("\n"):
            if line.startswith("### "):
                name = line[4:]
                if name in entries:
                    sys.exit(f"two entries are called {name}")
                if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                    sys.exit(f"the entry {name} is no short anchor")
                entries[name] = []
            elif line.startswith("> "):
                entries[name].append(line[2:])
    return entries


def literals(root):
    """All string literals of the sources, adjacent ones joined: sentences that come out of tables."""
    text = ""
    for room in ("lib", "run", "store", "report", "net", "llm", "profile", "cli"):
        for folder, _, files in os.walk(os.path.join(root, room)):
            for file in files:
                if file.endswith(".c"):
                    with open(os.path.join(folder, file), encoding="utf-8") as f:
                        text += re.sub(r'"\s*"', "", f.read()).replace('\\"', '"')
    return text


def main():
    root = sys.argv[1]
    entries = document(root)
    told = {s for sentences in entries.values() for s in sentences}
    faults = fault_sentences.collect(root)
    known = {s for _, s in faults}
    source = literals(root)
    problems = [f"{path}: not in docs/troubleshooting.md: {s}" for path, s in faults if s not in told]
    for s in sorted(told - known):
        parts = [p for p in s.split("\u2026") if len(p) > 8]
        if not parts or not all(p in source for p in parts):
            problems.append(f"docs/troubleshooting.md: nothing says this any more: {s}")
    problems += [f"the entry {name} quotes no sentence" for name, sentences in entries.items() if not sentences]
    print("\n".join(problems) if problems else f"{len(faults)} sentences in {len(entries)} entries")
    return 1 if problems or len(faults) < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
