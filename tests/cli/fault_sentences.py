"""The fault sentences of the product, as written in its sources: every format of jl_fail, also behind a macro of the file, of
sensor_list_problem, cli_warn and run_note, with the ellipsis for what is filled in. Formats that hold next to no words of their own
pass another sentence on."""
import glob
import os
import re

SHORT = re.compile(r"#define\s+(\w+)\(([^)]*),\s*\.\.\.\)\s*(?:\\\n\s*)?jl_fail\([^\n]*__VA_ARGS__\)")  # a file's own short form of it
FORMAT_AT = {"jl_fail": 2, "sensor_list_problem": 3, "cli_warn": 1, "run_note": 1}
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
CONVERSION = re.compile(r"%(?:%|[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|z|j|t)?[diouxXeEfgGcsp])")
WORDS = 12  # letters of its own that make a format a sentence


def arguments(source, start):
    """Arguments of the call whose opening parenthesis is at start, as source text."""
    depth, quoted, begin, found = 0, False, start + 1, []
    i = start
    while i < len(source):
        c = source[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                found.append(source[begin:i])
                return found
        elif c == "," and depth == 1:
            found.append(source[begin:i])
            begin = i + 1
        i += 1
    return found


def sentence(argument):
    """The format as a reader sees it: what is not literal, and every conversion, is an ellipsis."""
    text, end = "", 0
    for m in LITERAL.finditer(argument):
        if argument[end:m.start()].strip():
            text += "…"
        text += m.group(1).replace('\\"', '"').replace("\\n", " ").replace("\\\\", "\\")
        end = m.end()
    if argument[end:].strip():
        text += "…"
    text = CONVERSION.sub(lambda m: "%" if m.group(0) == "%%" else "…", text)
    return re.sub(r"…(?:\s*…)+", "…", text).strip()


def alternatives(argument):
    """A format chosen by a condition is two sentences."""
    if "?" in LITERAL.sub("", argument):
        condition, rest = re.split(r"\?", LITERAL.sub(lambda m: m.group(0).replace("?", "\0").replace(":", "\1"), argument), maxsplit=1)
        return [part.replace("\0", "?").replace("\1", ":") for part in rest.split(":")]
    return [argument]


def calls(source):
    """Arguments and place of the format of every fault in a source, also where the file has a short form for it."""
    at = dict(FORMAT_AT)
    for m in SHORT.finditer(source):
        at[m.group(1)] = m.group(2).count(",") + 1
    call = re.compile(r"\b(" + "|".join(at) + r")\s*\(")
    for m in call.finditer(source):
        if not source[: m.start()].endswith("#define "):
            yield arguments(source, m.end() - 1), at[m.group(1)]


def collect(root):
    """(file, sentence) of every fault in the sources below root, in order, each sentence once."""
    seen, out = set(), []
    for room in ("lib", "run", "store", "report", "net", "llm", "meters", "profile", "server", "cli"):
        for path in sorted(glob.glob(os.path.join(root, room, "**", "*.c"), recursive=True)):
            with open(path, encoding="utf-8") as f:
                source = f.read()
            for found, at in calls(source):
                if len(found) <= at or '"' not in found[at]:
                    continue
                for part in alternatives(found[at]):
                    text = sentence(part)
                    if len(re.sub(r"[^A-Za-z]", "", text)) >= WORDS and text not in seen:
                        seen.add(text)
                        out.append((os.path.relpath(path, root), text))
    return out
