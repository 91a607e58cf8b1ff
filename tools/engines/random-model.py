"""random-model.py FOLDER TEXT...: a model folder for vLLM's `--load-format dummy`: a small Llama shape and a tokeniser made from the
texts, which should be the same ones always: tests count its tokens. Nothing in it is learnt."""

import json
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

TOKENS = 1024


def tokeniser(files):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=TOKENS, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False)
    t.train_from_iterator([open(f, errors="replace", encoding="utf-8").read() for f in files], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>")
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    return fast


def main(folder, *files):
    tokeniser(files).save_pretrained(folder)
    shape = LlamaConfig(
        vocab_size=TOKENS,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=1024,
        bos_token_id=0,
        eos_token_id=1,
    ).to_dict()
    shape["architectures"] = ["LlamaForCausalLM"]
    with open(folder + "/config.json", "w", encoding="utf-8") as f:
        json.dump(shape, f, indent=1)


main(*sys.argv[1:])
