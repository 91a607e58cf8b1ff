"""LM Studio's own Python client, unchanged, against the stand-in of LM Studio: does the stand-in speak as the real one does?

The stand-in is named by the arguments: a program, or one and its words.

Skipped (77) where the client is not installed; JOULET_LMSTUDIO_SDK may name the folder it is in.
"""
import os
import subprocess
import sys

sys.path[:0] = filter(None, [os.environ.get("JOULET_LMSTUDIO_SDK")])
try:
    import lmstudio
except ImportError:
    print("skipped: the Python package lmstudio is not installed")
    sys.exit(77)


def ask(*fault):
    with subprocess.Popen([*sys.argv[1:], *fault], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as mock:
        host = mock.stdout.readline().strip().removeprefix("http://")
        progress = []
        with lmstudio.Client(host) as client:
            names = [m.model_key for m in client.system.list_downloaded_models()]
            answer = client.llm.model("mock-model").respond("hi", on_prompt_processing_progress=progress.append)
        mock.stdin.close()
    assert names == ["mock-model"], names
    assert answer.content == "Hello", answer.content
    assert answer.stats.prompt_tokens_count == 9 and answer.stats.predicted_tokens_count == 3, answer.stats
    assert answer.stats.stop_reason == "eosFound", answer.stats
    assert progress[-1] == 1.0, progress


ask()
ask("load")
print("lmstudio", lmstudio.__version__, "speaks with the stand-in")
