"""The tokenizer that a model's folder holds: texts are split as its tokenizer.json says.

transformers builds some tokenizers anew from their vocabulary and a template of their class, which may split texts
otherwise than the file that the model was trained with.
"""

import json
from pathlib import Path
from typing import Any

from harness.errors import UserError

# What decides the tokens of a text, but for those that are put around it.
SPLITTING = ("normalizer", "pre_tokenizer", "model", "added_tokens")
DECODING = ("decoder",)
FILE, BUILT = "tokenizer.json", "transformers"


def as_in_file(loaded: Any, folder: Path) -> Any:
    """The tokenizer that splits as tokenizer.json of the folder says: `loaded`, if it does, else one made of the file,
    with the special tokens around a text and the chat template of `loaded`.

    Raises UserError if the file cannot be read or gives tokens of tokenizer_config.json other ids.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    path = folder / FILE
    try:
        file = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise UserError(
            f"{path} cannot be read ({' '.join(str(error).split())[:120]}): save the tokenizer anew"
        ) from None
    if _alike(file, loaded.backend_tokenizer):
        return loaded
    own = PreTrainedTokenizerFast(
        tokenizer_object=file,
        chat_template=loaded.chat_template,
        clean_up_tokenization_spaces=loaded.clean_up_tokenization_spaces,
        **_special_tokens(loaded, file),
    )
    _add_named(own, folder)
    own.backend_tokenizer.post_processor = loaded.backend_tokenizer.post_processor
    return own


def _alike(one: Any, other: Any) -> bool:
    facts = [json.loads(tokenizer.to_str()) for tokenizer in (one, other)]
    return all(facts[0].get(name) == facts[1].get(name) for name in (*SPLITTING, *DECODING))


def _special_tokens(loaded: Any, file: Any) -> dict[str, Any]:
    """The special tokens that the file has: others are the class's, and no model has learned them."""
    found: dict[str, Any] = {}
    for name, token in loaded.special_tokens_map.items():
        known = [
            one for one in (token if isinstance(token, list) else [token]) if file.token_to_id(str(one)) is not None
        ]
        if known:
            found[name] = known if isinstance(token, list) else known[0]
    return found


def _add_named(tokenizer: Any, folder: Path) -> None:
    """Adds the tokens that only tokenizer_config.json names."""
    from tokenizers import AddedToken

    path = folder / "tokenizer_config.json"
    named = json.loads(path.read_text(encoding="utf-8")).get("added_tokens_decoder", {}) if path.exists() else {}
    for number, facts in sorted(named.items(), key=lambda pair: int(pair[0])):
        if tokenizer.convert_tokens_to_ids(facts["content"]) == int(number):
            continue
        tokenizer.add_tokens([AddedToken(**{key: value for key, value in facts.items() if key != "__type"})])
        if tokenizer.convert_tokens_to_ids(facts["content"]) != int(number):
            raise UserError(
                f"{folder}: tokenizer_config.json gives {facts['content']!r} the id {number}, {FILE} another one: save "
                "the tokenizer anew"
            )
