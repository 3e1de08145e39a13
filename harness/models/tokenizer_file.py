"""The tokenizer that a model's folder holds: texts are split as its tokenizer.json says.

transformers builds some tokenizers anew from their vocabulary and a template of their class, which may split texts
otherwise than the file that the model was trained with.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.models import sandbox
from harness.models.encoding import Unfaithful, rehearsing
from harness.models.model_config import FaultyFile, read_object

# What decides the tokens of a text, but for those that are put around it.
SPLITTING = ("normalizer", "pre_tokenizer", "model", "added_tokens")
DECODING = ("decoder",)
# Settings that say what is put around a text.
AROUND = ("add_bos_token", "add_eos_token")
# Of these the first that a tokenizer can write shows what it puts around a text.
SAMPLES = ("w 0", "w0", "a")
MOST_WAIT = 600  # by the clock, where processor time has no bounds, or none is taken
FILE, BUILT = "tokenizer.json", "transformers"
SETTINGS, TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
TEMPLATE_OF_PROCESSOR = "chat_template.json"
TOKENIZER_FILES = (FILE, SETTINGS, TEMPLATE, TEMPLATE_OF_PROCESSOR)


def require_bounded(path: Path) -> None:
    """Raises UserError for a tokenizer.json that cannot be read, or not within bounds on memory and time: that is tried
    in a process of its own, before anything else reads the file."""
    if path.is_file():
        with _trying(path):
            pass


@contextmanager
def rehearsed(path: Path | None) -> Iterator[None]:
    """Has texts split by the tokenizer.json of a model in a process of its own before they are split here, where it
    would end this process, or print a page about it. Raises Unfaithful for texts that it is not done with in time."""
    if path is None:
        yield
        return
    with _trying(path) as ask, rehearsing(lambda texts, special: ask({"texts": texts, "special": special})):
        yield


@contextmanager
def keeping() -> Iterator[None]:
    """Keeps the process that has read a tokenizer.json for `rehearsed`: large ones take seconds to read."""
    _KEPT.append({})
    try:
        yield
    finally:
        for process in _KEPT.pop().values():
            process.end()


_KEPT: list[dict[Path, sandbox.Answering]] = []


@contextmanager
def _trying(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    kept = _KEPT[-1] if _KEPT else {}
    known = kept.get(path)
    process = known or sandbox.Answering("harness.models.tokenizer_process", TOKENIZERS_PARALLELISM="false")

    def ask(request: dict[str, Any]) -> None:
        answer = process.ask(request, MOST_WAIT) or {"fault": "it takes too much memory or time"}
        if answer["fault"] is not None:
            if "path" in request:
                raise UserError(f"{path} cannot be read ({answer['fault']}): save the tokenizer anew")
            asked = f"{request['texts'][0][:40]!r} and the like"
            raise Unfaithful(f"{path} cannot split {asked} ({answer['fault']}): name a model with another tokenizer")

    try:
        if known is None:
            ask({"path": str(path)})
        kept[path] = process
        yield ask
    finally:
        if not _KEPT or path not in kept:
            process.end()


def as_in_file(loaded: Any, folder: Path) -> Any:
    """The tokenizer that splits as tokenizer.json of the folder says: `loaded`, if it does, else one made of the file,
    with the chat template of `loaded` and the tokens that the folder's other files name.

    What is put around a text is the file's too, unless tokenizer_config.json asks for it (add_bos_token and the like),
    which is for transformers to carry out. Raises UserError if the file cannot be read, or if the files give one token
    several ids.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    path = folder / FILE
    try:
        file = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read ({reason}): save the tokenizer anew") from None
    around = file.post_processor
    if any(_settings(folder, SETTINGS).get(name) is not None for name in AROUND):
        around = loaded.backend_tokenizer.post_processor
    own = loaded
    if not _alike(file, loaded.backend_tokenizer):
        _add_named(file, loaded, folder)
        own = PreTrainedTokenizerFast(
            tokenizer_object=file,
            chat_template=loaded.chat_template,
            clean_up_tokenization_spaces=loaded.clean_up_tokenization_spaces,
            **_special_tokens(loaded, file),
        )
    file.post_processor = around
    backend = own.backend_tokenizer
    if _sampled(file) != _sampled(backend):
        backend.post_processor = around
    return own


def _sampled(tokenizer: Any) -> list[int] | None:
    """The tokens of a sample, None if the tokenizer can write none of them."""
    for sample in SAMPLES:
        try:
            return list(tokenizer.encode(sample).ids)
        except Exception:  # the library raises bare exceptions for what is outside a vocabulary
            continue
    return None


def _alike(one: Any, other: Any) -> bool:
    facts = [json.loads(tokenizer.to_str()) for tokenizer in (one, other)]
    return all(facts[0].get(name) == facts[1].get(name) for name in (*SPLITTING, *DECODING))


def _special_tokens(loaded: Any, file: Any) -> dict[str, Any]:
    """The special tokens that the file has: others are the class's, and no model has learned them."""
    found: dict[str, Any] = {}
    for name, token in loaded.special_tokens_map.items():
        tokens = token if isinstance(token, list) else [token]
        known = [one for one in tokens if file.token_to_id(str(one)) is not None]
        if known:
            found[name] = known if isinstance(token, list) else known[0]
    return found


def _add_named(file: Any, loaded: Any, folder: Path) -> None:
    """Adds the tokens that only the folder's other files name."""
    from tokenizers import AddedToken

    wanted: dict[str, int | None] = {content: number for number, content in _numbered(folder)}
    for special in _named(folder):
        wanted.setdefault(special, None)
    facts = {token.content: token for token in loaded.added_tokens_decoder.values()}
    for content, number in sorted(wanted.items(), key=lambda pair: (pair[1] is None, pair[1] or 0)):
        if file.token_to_id(content) is None:
            file.add_special_tokens([facts.get(content) or AddedToken(content, normalized=False, special=True)])
        if number is not None and file.token_to_id(content) != number:
            raise UserError(f"{folder} gives {content!r} the id {number}, and {FILE} another: save the tokenizer anew")


def _numbered(folder: Path) -> Iterator[tuple[int, str]]:
    """Tokens with their ids, in the files where older versions of transformers write them."""
    for number, facts in _settings(folder, SETTINGS).get("added_tokens_decoder", {}).items():
        yield int(number), facts["content"]
    for content, number in _settings(folder, "added_tokens.json").items():
        yield int(number), content


def _named(folder: Path) -> Iterator[str]:
    """Special tokens by their names (bos_token and the like)."""
    for file in (SETTINGS, "special_tokens_map.json"):
        for name, value in _settings(folder, file).items():
            if name.endswith(("_token", "_special_tokens")) and not name.startswith("add_"):
                for token in value if isinstance(value, list) else [value]:
                    content = token.get("content") if isinstance(token, dict) else token
                    if isinstance(content, str):
                        yield content


def take_over(tokenizer: Any, folder: Path, name: str) -> None:
    """Gives a tokenizer the chat template that an adapter's folder brings: the adapter was trained with it.

    Raises UserError if the folder has other tokens too, which the model cannot have.
    """
    from tokenizers import Tokenizer

    require_bounded(folder / FILE)
    if (folder / FILE).is_file():
        theirs = Tokenizer.from_file(str(folder / FILE)).get_vocab()
        if odd := sorted(token for token, number in theirs.items() if tokenizer.get_vocab().get(token) != number):
            raise UserError(
                f"the adapter {name} has a tokenizer of its own with other tokens ({odd[0]!r}): merge it into the "
                "model and save that"
            )
    try:
        template = _template(folder)
    except ValueError as error:
        raise UserError(f"the adapter {name} cannot be loaded ({error}): correct that, or name another") from None
    if template is not None:
        tokenizer.chat_template = template


def _template(folder: Path) -> str | None:
    """The chat template in a folder, None if it has none; of several in one file the default. Raises FaultyFile."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    for file in (SETTINGS, TEMPLATE_OF_PROCESSOR):
        template = read_object(folder / file).get("chat_template") if (folder / file).is_file() else None
        if isinstance(template, list):
            named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
            template = named.get("default", named)
        if template is not None and not isinstance(template, str):
            raise FaultyFile(file, "chat_template is no text, nor a list with one that is called default")
        if template is not None:
            return template
    return None


def _settings(folder: Path, file: str) -> dict[str, Any]:
    path = folder / file
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}
