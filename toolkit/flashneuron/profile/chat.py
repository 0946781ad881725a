"""A prompt as the turn of a conversation, by the chat template that a package carries."""

from __future__ import annotations

import datetime
import json
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flashneuron.errors import InputError, PackageError
from flashneuron.package.manifest import Package
from flashneuron.profile.text import TextCodec


def encode_turn(package: Package, codec: TextCodec, prompt: str) -> list[int]:
    """Ids of a conversation in which the user has said `prompt` and the model is next to speak. No prefix is added:
    what stands in front is the template's to say.

    Errors: InputError where the package has no template or the prompt is empty, PackageError where it has a bad one.
    """
    chat, name = package.manifest.chat, package.manifest.name
    if chat is None:
        raise InputError(f"{name} has no chat template; leave --chat out, or export a model that carries one")
    if not prompt:
        raise InputError("the prompt is empty; ask something")
    environment = _environment()
    try:
        text = environment.from_string(chat.template).render(
            messages=[{"role": "user", "content": prompt}],
            tools=None,
            documents=None,
            add_generation_prompt=True,
            bos_token=chat.bos_token,
            eos_token=chat.eos_token,
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PackageError(f"the chat template of {name} fails ({reason}); leave --chat out") from None
    ids = codec.encode(text)
    if not ids:
        raise PackageError(f"the chat template of {name} gives no text; leave --chat out")
    return ids


def _environment() -> ImmutableSandboxedEnvironment:
    """What Hugging Face's templates expect of theirs: a sandbox, since templates come from strangers."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


def _json(value: Any, indent: int | None = None) -> str:
    """Jinja's own escapes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
