"""drive.py: what the scripts of Python clients share. Each gets one JSON object: the addresses `direct` and `proxy`, what to ask, and
the cases to go through. Every case is asked both ways by the client as it is; one JSON object a line says what was seen."""

import concurrent.futures
import json
import sys

CONFIG = json.loads(sys.argv[1])
MODEL = CONFIG["model"]
MANY = range(1, 9)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": CITY}}
QUESTION = "How is the weather?"
ASKED = [{"role": "user", "content": QUESTION}]


def together(ask):
    """1 to 8 at once: what each was told, as a list of lists."""
    said = []
    for n in MANY:
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            said.append(list(pool.map(ask, range(n))))
    return said


def refusal(ask):
    """What the client makes of a refusal: its class of exception, status and sentence."""
    try:
        ask()
    except Exception as e:  # the class is what is compared
        return {"class": type(e).__name__, "status": getattr(e, "status_code", None), "message": str(e)}
    return "no error"


def run(connect, cases):
    """connect(base, embeddings): a client. A case returns what was seen, and the energies that the client's own objects show."""
    for name, case in cases.items():
        if name not in CONFIG["cases"]:
            continue
        for via in CONFIG["ways"]:
            try:
                seen, energies = case(connect(CONFIG[via], name == "embeddings"))
                line = {"case": name, "via": via, "seen": seen, "energies": energies}
            except Exception as e:
                line = {"case": name, "via": via, "failed": f"{type(e).__name__}: {e}"}
            print(json.dumps(line), flush=True)
