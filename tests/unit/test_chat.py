"""Chat templates: read from a model folder, kept in the manifest, and rendered as transformers renders them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_opt
from transformers import PreTrainedTokenizerFast

from flashneuron.errors import InputError, ModelError, PackageError
from flashneuron.model.tokenizer import read_chat
from flashneuron.package.manifest import Package, parse_manifest
from flashneuron.package.schema import MAX_CHAT_TEMPLATE, ChatFacts
from flashneuron.profile.chat import encode_turn
from flashneuron.profile.text import TextCodec

TINY = Path(__file__).parents[1] / "data" / "tiny_package"
CODEC = TextCodec(tiny_opt.tokenizer().to_str().encode(), [2])
CHATML = """{% for message in messages %}
    {% if loop.first and message.role != 'system' %}<s>system
A helper<pad>{% endif %}
    {{ '<s>' + message['role'] + '\n' + message['content'] + '<pad>' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"""
TEMPLATES = [
    CHATML,
    "{{ bos_token }}[INST] {{ messages[-1].content | trim }} [/INST]{{ eos_token }}",
    "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}",
    "{% for c in messages[0].content %}{% if c == 'q' %}{% break %}{% endif %}{{ c }}{% endfor %}",
    "{%- set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }} {{ tools }}",
    "{% if tools is defined %}{{ strftime_now('%%') }}{% endif %}x",
]


def package(template: str | None) -> Package:
    chat = ChatFacts(template=template, bos_token="<s>", eos_token="</s>") if template else None
    opened = Package.open(TINY)
    return Package(opened.folder, opened.manifest.model_copy(update={"chat": chat}))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("prompt", ["Why is the sky blue?", "  a <b> & \"c\" 'd'\n", "naïve 🙂 café", "a<pad>"])
def test_a_turn_is_what_transformers_makes_of_it(template: str, prompt: str) -> None:
    reference = PreTrainedTokenizerFast(
        tokenizer_object=tiny_opt.tokenizer(), bos_token="<s>", eos_token="</s>", chat_template=template
    )
    text = reference.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
    )
    assert encode_turn(package(template), CODEC, prompt) == reference(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('only\nsystem') }}", r"fails \(only\); leave --chat out"),
        ("{% for %}", "fails"),
        ("{{ messages[0].content + 1 }}", "fails"),
        ("{{ 1 // 0 }}", "fails"),
        ("{{ nothing.at.all }}", "fails"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "fails"),
        ("{% set m = messages.append(1) %}x", "fails"),
        ("{% if false %}x{% endif %}", "gives no text"),
    ],
)
def test_a_bad_template_is_one_line(template: str, says: str) -> None:
    with pytest.raises(PackageError, match=says) as caught:
        encode_turn(package(template), CODEC, "abc")
    assert "\n" not in str(caught.value)


def test_without_a_template_or_a_question_there_is_no_turn() -> None:
    with pytest.raises(InputError, match="has no chat template; leave --chat out, or export a model that carries one"):
        encode_turn(package(None), CODEC, "abc")
    with pytest.raises(InputError, match="the prompt is empty"):
        encode_turn(package("x"), CODEC, "")


def write(folder: Path, config: object, template: str | None = None) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def test_a_folder_has_it_in_a_file_or_in_its_tokenizers_config(tmp_path: Path) -> None:
    assert read_chat(tmp_path) is None
    assert read_chat(write(tmp_path, {"bos_token": "<s>"})) is None
    found = read_chat(write(tmp_path, {"chat_template": "one", "bos_token": None, "eos_token": {"content": "</s>"}}))
    assert found == ChatFacts(template="one", bos_token="", eos_token="</s>")
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "two"}]
    assert read_chat(write(tmp_path, {"chat_template": several})) == ChatFacts(
        template="two", bos_token="", eos_token=""
    )
    assert read_chat(write(tmp_path, {"chat_template": several[:1]})) is None
    assert read_chat(write(tmp_path, {"chat_template": "one", "bos_token": "<s>"}, "three")) == ChatFacts(
        template="three", bos_token="<s>", eos_token=""
    )


@pytest.mark.parametrize("template", [7, {"a": "b"}, "x" * (MAX_CHAT_TEMPLATE + 1)])
def test_what_is_no_template_is_refused(template: object, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its chat template is not text of at most 262144 characters"):
        read_chat(write(tmp_path, {"chat_template": template}))


def test_a_manifest_keeps_it() -> None:
    document = json.loads((TINY / "manifest.json").read_bytes())
    assert parse_manifest(json.dumps(document).encode()).chat is None
    document["chat"] = {"template": CHATML, "bos_token": "<s>", "eos_token": ""}
    assert parse_manifest(json.dumps(document).encode()).chat == ChatFacts(
        template=CHATML, bos_token="<s>", eos_token=""
    )
    document["chat"]["template"] = ""
    with pytest.raises(PackageError, match=r"chat\.template"):
        parse_manifest(json.dumps(document).encode())
