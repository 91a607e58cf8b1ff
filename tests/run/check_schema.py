#!/usr/bin/env python3
"""check_schema.py WRITER SCHEMA MANUAL - every record that WRITER makes is valid, records that are wrong in one place are not, and the
manual names every key of the schema."""
import copy
import glob
import json
import os
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:
    sys.exit("check_schema.py: the Python module jsonschema is missing; install python3-jsonschema")


def changed_of(record):
    def changed(change):
        r = copy.deepcopy(record)
        change(r)
        return r
    return changed


def wrong_profile(record):
    """Yields (what is wrong, profile)."""
    changed = changed_of(record)
    yield "no how", changed(lambda r: r.pop("how"))
    yield "a path of nobody", changed(lambda r: r["how"].update(path="guess"))
    yield "a closure in words", changed(lambda r: r["how"].update(closure="good"))
    yield "flash unknown", changed(lambda r: r["how"].update(flash=None))
    yield "another schema", changed(lambda r: r.update(schema="joulet.profile/2"))
    yield "key of nobody", changed(lambda r: r.update(extra=1))
    yield "settings in depth", changed(lambda r: r["settings"].update(deep={"a": 1}))
    if record["components"]:
        x = lambda r: r["components"][0]
        yield "negative interval", changed(lambda r: x(r).update(joules_pm=-1))
        yield "negative layer", changed(lambda r: x(r).update(layer=-1))
        yield "no limit", changed(lambda r: x(r).pop("limit_j"))


def wrong_in_one_place(record):
    """Yields (what is wrong, record)."""
    if record["schema"].startswith("joulet.profile/"):
        yield from wrong_profile(record)
        return
    changed = changed_of(record)

    yield "no energy", changed(lambda r: r.pop("energy"))
    yield "bare number", changed(lambda r: r.update(energy=12.4))
    yield "zero text", changed(lambda r: r["energy"]["total"].update(net_j="0"))
    yield "no interval", changed(lambda r: r["energy"]["total"].pop("net_pm_j"))
    yield "negative interval", changed(lambda r: r["energy"]["total"].update(net_pm_j=-1))
    yield "unknown flag", changed(lambda r: r["energy"]["total"].update(flags=["tired"]))
    yield "unknown provenance", changed(lambda r: r["energy"]["total"].update(provenance="dreamt"))
    yield "another schema", changed(lambda r: r.update(schema="joulet.run/2"))
    yield "key of nobody", changed(lambda r: r.update(extra=1))
    yield "settings in depth", changed(lambda r: r["settings"].update(deep={"a": 1}))
    if record["requests"]:
        q = lambda r: r["requests"][0]
        yield "negative tokens", changed(lambda r: q(r)["tokens"].update(prompt=-1))
        yield "unknown outcome", changed(lambda r: q(r).update(outcome="fine"))
        yield "window without energy", changed(lambda r: [w.pop("energy") for w in q(r)["windows"].values()]
                                               if q(r)["windows"] else r.pop("id"))
        yield "hash of another length", changed(lambda r: q(r).update(prompt_sha256="abc"))


def names(schema):
    """Keys of records and words of fixed lists, wherever they stand in the schema."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from value
            if key == "enum":
                yield from (v for v in value if v is not None)
            yield from names(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from names(value)


# Properties of a channel are those of struct joulet_channel; the header explains them.
CHANNEL = "channel"


def check_manual(schema, manual_file):
    with open(manual_file, encoding="utf-8") as f:
        manual = f.read()
    rest = dict(schema, **{"$defs": {k: v for k, v in schema["$defs"].items() if k != CHANNEL}})
    missing = sorted({n for n in names(rest) if n not in manual})
    if missing:
        sys.exit(f"{os.path.basename(manual_file)} does not explain: {', '.join(missing)}")


def main():
    writer, schema_file, manual_file = sys.argv[1:]
    with open(schema_file, encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check_manual(schema, manual_file)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([writer, folder], check=True)
        files = sorted(glob.glob(os.path.join(folder, "*.json")))
        if not files:
            sys.exit("check_schema.py: the writer wrote nothing")
        for name in files:
            with open(name, encoding="utf-8") as f:
                record = json.load(f)
            for error in check.iter_errors(record):
                sys.exit(f"{os.path.basename(name)}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
            for what, wrong in wrong_in_one_place(record):
                if check.is_valid(wrong):
                    sys.exit(f"{os.path.basename(name)}: the schema lets through: {what}")
    print(f"{len(files)} records are valid")


main()
