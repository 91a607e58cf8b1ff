"""check_options.py ROOT: every option that the sources of cli/ ask for is a row of the table, and its command takes it."""
import glob
import os
import re
import sys

ASK = re.compile(r'\bcli_(?:given|flag|str|int|real|duration_ns|list)\(\s*[^,()]+,\s*"([a-z0-9-]+)"')


def main():
    root = sys.argv[1]
    with open(os.path.join(root, "cli", "options.c"), encoding="utf-8") as f:
        rows = set(re.findall(r'\.name = "([a-z0-9-]+)"', f.read()))
    with open(os.path.join(root, "cli", "values.c"), encoding="utf-8") as f:
        common = set(re.search(r'common_options\[\] = "([^"]*)"', f.read()).group(1).split())
    problems, asked = [], 0
    for path in sorted(glob.glob(os.path.join(root, "cli", "*.c"))):
        with open(path, encoding="utf-8") as f:
            source = f.read()
        listed = re.search(r"\.options\s*=((?:\s*\"[^\"]*\")+)", source) if "/cmd_" in path else None
        taken = set(" ".join(re.findall(r'"([^"]*)"', listed.group(1))).split()) | common if listed else rows
        for name in ASK.findall(source):
            asked += 1
            if name not in rows:
                problems.append(f"{os.path.relpath(path, root)} asks for --{name}, which is not in the table")
            elif name not in taken:
                problems.append(f"{os.path.relpath(path, root)} asks for --{name}, which its command does not take")
    print("\n".join(problems) if problems else f"{asked} questions, {len(rows)} rows")
    return 1 if problems or asked < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
