"""Loads a tokenizer exactly as tokenizer.json defines it, after a trial in a sandboxed process.

transformers rebuilds some tokenizers from their vocabulary and a template of their class, which may tokenize
differently from the file that the model was trained with.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.models import sandbox
from harness.models.encoding import UnusableTokenizer, encode_hook
from harness.models.model_config import FaultyFile, read_object

# Parts that decide the tokens of a text, except surrounding special tokens.
ENCODING = ("normalizer", "pre_tokenizer", "model", "added_tokens")
DECODING = ("decoder",)
# Settings for surrounding special tokens.
AROUND = ("add_bos_token", "add_eos_token")
# The first that a tokenizer can encode shows which special tokens surround a text.
SAMPLES = ("w 0", "w0", "a")
MAX_WAIT = 600  # seconds of wall-clock time, for systems without limits on CPU time
FILE, BUILT = "tokenizer.json", "transformers"
SETTINGS, TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
TEMPLATE_OF_PROCESSOR = "chat_template.json"
TOKENIZER_FILES = (FILE, SETTINGS, TEMPLATE, TEMPLATE_OF_PROCESSOR)


def require_within_limits(path: Path) -> None:
    """Raises UserError for a tokenizer.json that cannot be read within limits on memory and time.

    A sandboxed process tries that first, before this process reads the file.
    """
    if path.is_file():
        with _sandbox(path):
            pass


@contextmanager
def sandboxed_encoding(path: Path | None) -> Iterator[None]:
    """Encodes texts in a sandboxed process first, because the library may abort the process or print a long panic.

    path: tokenizer.json, None for no effect. Raises UnusableTokenizer on timeout.
    """
    if path is None:
        yield
        return
    with _sandbox(path) as request, encode_hook(lambda texts, special: request({"texts": texts, "special": special})):
        yield


@contextmanager
def keep_processes() -> Iterator[None]:
    """Keeps the sandboxed process for later calls of `sandboxed_encoding`: a large tokenizer.json takes seconds to
    read."""
    _KEPT.append({})
    try:
        yield
    finally:
        for process in _KEPT.pop().values():
            process.close()


_KEPT: list[dict[Path, sandbox.Server]] = []


@contextmanager
def _sandbox(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    kept = _KEPT[-1] if _KEPT else {}
    running = kept.get(path)
    process = running or sandbox.Server("harness.models.tokenizer_process", TOKENIZERS_PARALLELISM="false")

    def request(message: dict[str, Any]) -> None:
        response = process.request(message, MAX_WAIT) or {"fault": "it takes too much memory or time"}
        if response["fault"] is not None:
            if "path" in message:
                raise UserError(f"{path} cannot be read ({response['fault']}): save the tokenizer again")
            texts = f"texts such as {message['texts'][0][:40]!r}"
            raise UnusableTokenizer(
                f"{path} cannot encode {texts} ({response['fault']}): name a model with another tokenizer"
            )

    try:
        if running is None:
            request({"path": str(path)})
        kept[path] = process
        yield request
    finally:
        if not _KEPT or path not in kept:
            process.close()


def use_tokenizer_file(loaded: Any, folder: Path) -> Any:
    """The tokenizer as defined by the folder's tokenizer.json: `loaded` if it agrees, else one built from the file.

    The latter has the chat template of `loaded` and the tokens of the folder's other files.

    Surrounding special tokens follow the file too, unless tokenizer_config.json sets them (add_bos_token, ...), which
    transformers implements. Raises UserError if the file cannot be read, or if the files give a token several ids.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    path = folder / FILE
    try:
        file = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read ({reason}): save the tokenizer again") from None
    around = file.post_processor
    if any(_settings(folder, SETTINGS).get(name) is not None for name in AROUND):
        around = loaded.backend_tokenizer.post_processor
    tokenizer = loaded
    if not _is_same(file, loaded.backend_tokenizer):
        _add_missing_tokens(file, loaded, folder)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=file,
            chat_template=loaded.chat_template,
            clean_up_tokenization_spaces=loaded.clean_up_tokenization_spaces,
            **_special_tokens(loaded, file),
        )
    file.post_processor = around
    backend = tokenizer.backend_tokenizer
    if _encode_sample(file) != _encode_sample(backend):
        backend.post_processor = around
    return tokenizer


def _encode_sample(tokenizer: Any) -> list[int] | None:
    """The tokens of the first sample that the tokenizer can encode, None if it can encode none."""
    for sample in SAMPLES:
        try:
            return list(tokenizer.encode(sample).ids)
        except Exception:  # the library raises bare exceptions for unknown characters
            continue
    return None


def _is_same(tokenizer: Any, other: Any) -> bool:
    states = [json.loads(backend.to_str()) for backend in (tokenizer, other)]
    return all(states[0].get(name) == states[1].get(name) for name in (*ENCODING, *DECODING))


def _special_tokens(loaded: Any, file: Any) -> dict[str, Any]:
    """The special tokens in the file. Others are defaults of the class, which the model was not trained with."""
    special: dict[str, Any] = {}
    for name, token in loaded.special_tokens_map.items():
        tokens = token if isinstance(token, list) else [token]
        known = [content for content in tokens if file.token_to_id(str(content)) is not None]
        if known:
            special[name] = known if isinstance(token, list) else known[0]
    return special


def _add_missing_tokens(file: Any, loaded: Any, folder: Path) -> None:
    """Adds the tokens that are only in the folder's other files."""
    from tokenizers import AddedToken

    wanted: dict[str, int | None] = {content: number for number, content in _tokens_with_ids(folder)}
    for special in _named_tokens(folder):
        wanted.setdefault(special, None)
    added = {token.content: token for token in loaded.added_tokens_decoder.values()}
    for content, number in sorted(wanted.items(), key=lambda pair: (pair[1] is None, pair[1] or 0)):
        if file.token_to_id(content) is None:
            file.add_special_tokens([added.get(content) or AddedToken(content, normalized=False, special=True)])
        if number is not None and file.token_to_id(content) != number:
            raise UserError(f"{folder} gives {content!r} the id {number}, but {FILE} another: save the tokenizer again")


def _tokens_with_ids(folder: Path) -> Iterator[tuple[int, str]]:
    """Added tokens with their ids, from the files of older transformers versions."""
    for number, token in _settings(folder, SETTINGS).get("added_tokens_decoder", {}).items():
        yield int(number), token["content"]
    for content, number in _settings(folder, "added_tokens.json").items():
        yield int(number), content


def _named_tokens(folder: Path) -> Iterator[str]:
    """Special tokens with a role (bos_token, ...)."""
    for file in (SETTINGS, "special_tokens_map.json"):
        for name, value in _settings(folder, file).items():
            if name.endswith(("_token", "_special_tokens")) and not name.startswith("add_"):
                for token in value if isinstance(value, list) else [value]:
                    content = token.get("content") if isinstance(token, dict) else token
                    if isinstance(content, str):
                        yield content


def use_adapter_template(tokenizer: Any, folder: Path, name: str) -> None:
    """Sets the chat template of an adapter's folder, if it has one: the adapter was trained with it.

    Raises UserError if the folder's tokenizer has tokens that the model's does not have.
    """
    from tokenizers import Tokenizer

    require_within_limits(folder / FILE)
    if (folder / FILE).is_file():
        vocabulary = Tokenizer.from_file(str(folder / FILE)).get_vocab()
        if odd := sorted(token for token, number in vocabulary.items() if tokenizer.get_vocab().get(token) != number):
            raise UserError(
                f"the adapter {name} has its own tokenizer with other tokens ({odd[0]!r}): merge it into the model and "
                "save that"
            )
    try:
        template = _template(folder)
    except ValueError as error:
        raise UserError(f"the adapter {name} cannot be loaded ({error}): fix it, or name another adapter") from None
    if template is not None:
        tokenizer.chat_template = template


def _template(folder: Path) -> str | None:
    """The chat template in a folder, the default one of several; None if it has none. Raises FaultyFile."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    for file in (SETTINGS, TEMPLATE_OF_PROCESSOR):
        template = read_object(folder / file).get("chat_template") if (folder / file).is_file() else None
        if isinstance(template, list):
            named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
            template = named.get("default", named)
        if template is not None and not isinstance(template, str):
            raise FaultyFile(file, "chat_template must be a string, or a list with a template named default")
        if template is not None:
            return template
    return None


def _settings(folder: Path, file: str) -> dict[str, Any]:
    path = folder / file
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return settings if isinstance(settings, dict) else {}
