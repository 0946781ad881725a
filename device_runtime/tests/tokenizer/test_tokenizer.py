"""The tokeniser on the device gives what `tokenizers` gives. Run by ctest, which names the program in FN_TOKENIZE, with
the words that run it in front, | between them.

FN_TOKENIZER_JSON=FILE… (colons between) compares by more tokenizers than those made here.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "models" / "sample" / "tokenizer.json"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CHAT_MARKS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]

CORPUS = [
    "", " ", "\n", "\r\n\r\n  \t x", "Hello, world!  It's 12345 o'clock; they'LL say I'\u017f",
    "Ünïcödé ﬁ Å Å é é ǰ̣ ḍ̇ 각 각 \u0344 שּׁ",
    "日本語のテキストと中文文本,한국어。「引用」", "🙂👩‍👩‍👧‍👦🏳️‍🌈 🇩🇪 e\u0301\U0001f3fd",
    "\x00\x01\x1b[0m\x7f\x85\xa0\u200b\u200d\u2028\ufeff\ufffd",
    "²³¼٣৪Ⅷ①𝟘 1e-5 007", "<|im_start|>user\n<|im_end|></s> <s>x</s>< |im_start|>",
    "a" * 300 + " " * 300 + "!" * 300 + "\n" * 40,
    "def f(x):\n    return {'a': [1, 2]}  # $€£ ~`^|<>=+", "ಠ_ಠ ༼ つ ◕_◕ ༽つ عربي עברית ไทย हिन्दी ▁▁x ▁ <0x0A> Ġ",
]  # fmt: skip


def trained(tokenizer: Tokenizer, **options: Any) -> Tokenizer:
    """A small vocabulary of its own, of the text that the sample model was trained on and of CORPUS."""
    text = (ROOT / "models" / "sample" / "calibration.txt").read_text(encoding="utf-8")
    trainer = trainers.BpeTrainer(vocab_size=1500, show_progress=False, **options)
    tokenizer.train_from_iterator([text[:60_000], *CORPUS], trainer)
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in CHAT_MARKS])
    return tokenizer


def byte_level(
    pre_tokenizer: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None = None
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    return trained(tokenizer, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def split(expression: str) -> pre_tokenizers.PreTokenizer:
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), "isolated"), bytes_alone])


def gpt2_style() -> Tokenizer:
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))


def smollm2_style() -> Tokenizer:
    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer = byte_level(pre_tokenizers.Sequence(parts))
    tokenizer.add_tokens([AddedToken("  x", normalized=True), AddedToken("<right>", rstrip=True, lstrip=True)])
    return tokenizer


def qwen_style() -> Tokenizer:
    return byte_level(split(QWEN), normalizers.NFC())


def llama3_style() -> Tokenizer:
    data = json.loads(byte_level(split(LLAMA3)).to_str())
    data["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(data))


def falcon_style() -> Tokenizer:
    parts = [
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
    ]
    return byte_level(pre_tokenizers.Sequence(parts))


def with_byte_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The vocabulary gets <0x00> to <0xFF>, for characters that it lacks; half of the characters go."""
    data = json.loads(tokenizer.to_str())
    model = data["model"]
    rare = {token for token in model["vocab"] if len(token) == 1 and ord(token) > 0x250}
    model["merges"] = [pair for pair in model["merges"] if not rare & set("".join(pair))]
    kept = [token for token in model["vocab"] if not rare & set(token)]
    names = [*kept, *(f"<0x{byte:02X}>" for byte in range(256))]
    model["vocab"] = {token: number for number, token in enumerate(dict.fromkeys(names))}
    model.update(byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    data["added_tokens"] = [
        {**token, "id": model["vocab"].get(token["content"], len(model["vocab"]) + i)}
        for i, token in enumerate(data["added_tokens"])
    ]
    return Tokenizer.from_str(json.dumps(data))


def llama2_style() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # words, to train by
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    data = json.loads(with_byte_tokens(trained(tokenizer, special_tokens=["<unk>", "<s>", "</s>"])).to_str())
    data["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(data))


def mistral_style() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return with_byte_tokens(trained(tokenizer, special_tokens=["<unk>", "<s>", "</s>"]))


def removing_style() -> Tokenizer:
    parts = [
        pre_tokenizers.Split(",", "removed"),
        pre_tokenizers.Split(Regex(r"\p{L}+|\s++"), "merged_with_previous"),
        pre_tokenizers.Split(Regex(r"[^\p{L}a-c\-]{2,4}"), "merged_with_next", invert=True),
        pre_tokenizers.Split(Regex(r"(?i:[k-s]+)?x|\P{N}\S"), "contiguous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return byte_level(pre_tokenizers.Sequence(parts), normalizers.Replace(Regex(r"\n{2,}"), "\n"))


MADE = [gpt2_style, smollm2_style, qwen_style, llama3_style, falcon_style, llama2_style, mistral_style, removing_style]
STYLES: dict[str, Callable[[], Tokenizer]] = {made.__name__.removesuffix("_style"): made for made in MADE}
for file in [str(SAMPLE), *filter(None, os.environ.get("FN_TOKENIZER_JSON", "").split(":"))]:
    STYLES[file] = functools.partial(Tokenizer.from_file, file)


class Device:
    """The program around the C++ tokeniser."""

    def __init__(self, tokenizer_json: Path) -> None:
        command = [*filter(None, os.environ["FN_TOKENIZE"].split("|")), str(tokenizer_json)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.refusal: dict[str, str] = json.loads(self._read())

    def ask(self, question: str | list[int]) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.communicate()


class Pair:
    """The same tokenizer.json read by both."""

    def __init__(self, tokenizer: Tokenizer, folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(tokenizer.to_str(), encoding="utf-8")
        self.reference = tokenizer
        self.device = Device(path)
        assert self.device.refusal == {}

    def agree(self, text: str) -> None:
        ids = self.reference.encode(text, add_special_tokens=False).ids
        assert self.device.ask(text) == ids
        assert self.device.ask(ids) == self.reference.decode(ids)
        self.agree_on_ids(ids[::2])

    def agree_on_ids(self, ids: list[int]) -> None:
        assert self.device.ask(ids) == self.reference.decode(ids)


@pytest.fixture(scope="module", params=STYLES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    found = Pair(STYLES[request.param](), tmp_path_factory.mktemp("tokenizer"))
    yield found
    found.device.close()


@pytest.mark.parametrize("text", CORPUS, ids=range(len(CORPUS)))
def test_the_corpus(pair: Pair, text: str) -> None:
    pair.agree(text)


@pytest.mark.parametrize("made", [qwen_style, falcon_style, llama2_style])
def test_every_character(made: Callable[[], Tokenizer], tmp_path: Path) -> None:
    """Of the planes in use, between letters, spaces, digits and marks, by which classes of characters and NFC show."""
    pair = Pair(made(), tmp_path)
    for start in [*range(0, 0x32000, 0x800), 0xE0000, 0xF0000, 0x10F800]:
        characters = [chr(c) for c in range(start, start + 0x800) if not 0xD800 <= c < 0xE000]
        pair.agree("".join(f"a{c}1{c} {c}\u0301" for c in characters))
    pair.device.close()


def test_the_unicode_tables_are_of_this_version() -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "make-unicode-tables", "--check"], check=True)


WORDS = st.sampled_from(
    [*CHAT_MARKS, "</s>", "<right>", "  x", " ", "  ", "\n", "\r\n", "'s", "'LL", "'\u017f", "12", "７", "ab", " the",
     "é", "e\u0301", "각", "\u1112\u1161\u11ab", "日本", "🙂", "👩‍👧", "\x00", "\x85", "\ufeff", "▁", "Ġ",
     "<0xE2>", "<unk>"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=60), st.lists(WORDS | st.text(max_size=4), max_size=20).map("".join))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_any_text(pair: Pair, text: str) -> None:
    pair.agree(text)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_ids(pair: Pair, data: st.DataObject) -> None:
    most = pair.reference.get_vocab_size() + 3
    pair.agree_on_ids(data.draw(st.lists(st.integers(0, most), max_size=12)))


def changed(path: tuple[str, ...], value: object) -> str:
    data = json.loads(SAMPLE.read_text(encoding="utf-8"))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(data)


def expression(text: str) -> str:
    return changed(("pre_tokenizer",), {"type": "Split", "pattern": {"Regex": text}, "behavior": "Isolated"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "corrupt: the package's tokenizer: is not JSON"),
        (changed(("model", "type"), "WordPiece"), 'unsupported: the package\'s tokenizer: type is "WordPiece"'),
        (changed(("model", "dropout"), 0.1), "dropout is not supported"),
        (changed(("model", "end_of_word_suffix"), "</w>"), "end_of_word_suffix is not supported"),
        (changed(("model", "unk_token"), "?!?"), "unk_token is not in the vocabulary"),
        (changed(("model", "merges"), [["t", "nowhere"]]), "merges[0] is not in the vocabulary"),
        (changed(("model", "merges"), [["t"]]), "merges[0] is not two tokens"),
        (changed(("model", "vocab"), {"a": -1}), "no proper id"),
        (changed(("normalizer",), {"type": "Lowercase"}), 'normalizer.type is "Lowercase"'),
        (changed(("pre_tokenizer",), {"type": "BertPreTokenizer"}), 'pre_tokenizer.type is "BertPreTokenizer"'),
        (changed(("decoder",), {"type": "WordPiece"}), 'decoder.type is "WordPiece"'),
        (changed(("added_tokens",), 7), "added_tokens is not a list"),
        (expression(r"\p{Lu}+"), r"has '\p{Lu}'"),
        (expression("a.b"), "has '.' at 1"),
        (expression("(?<=a)b"), "a group of a special kind"),
        (expression("a+?"), "a repetition '+?'"),
        (expression("(ab)*"), "a repetition '*'"),
        (expression("[a"), "a '[' that is not closed"),
        (expression("(a"), "a '(' that is not closed"),
        (expression("a)"), "a ')' that closes nothing"),
        (expression("[b-a]"), "a range that does not ascend"),
        (expression("a{3,1}"), "a '{' that counts nothing"),
    ],
)
def test_what_is_not_known_is_refused_by_name(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    device = Device(tmp_path / "tokenizer.json")
    device.close()
    assert says in device.refusal["error"]
