"""Keys, tokens and passwords in texts: refused, never quoted, and told from hashes, names and command lines.

They are drawn here: none is anybody's, and none is in the file for a scanner to find.
"""

import random
import string
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UserError
from leaderboard.attestations import require_valid_author
from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused
from leaderboard.verification.schema import require_schema
from leaderboard.verification.secrets import has_secret, mask_secrets
from tests.leaderboard.record_edits import SUBMISSION, TERMS

HEX, LOWER, UPPER = "0123456789abcdef", string.ascii_lowercase + string.digits, string.ascii_uppercase + string.digits
BOTH, BASE64 = string.ascii_letters + string.digits, string.ascii_letters + string.digits + "+/"
URL_SAFE = string.ascii_letters + string.digits + "-_"


def drawn(count: int, signs: str = BOTH, seed: int = 0) -> str:
    return "".join(random.Random(f"{count} {signs} {seed}").choices(signs, k=count))


# The text before, the secret, and the text after.
SECRETS = [
    ("aws_secret_access_key=", drawn(40, BASE64)), ("AWS_SECRET_ACCESS_KEY: ", drawn(40, BASE64)),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY"), ("AKIA", drawn(16, UPPER)),
    ("https://hooks.slack.com/services/", f"T{drawn(8, UPPER)}/B{drawn(8, UPPER)}/{drawn(24)}"), ("xoxp-", drawn(40)),
    ("https://discord.com/api/webhooks/123456789012345678/", drawn(68, URL_SAFE)),
    ("https://hooks.zapier.com/", drawn(30)), ("dckr_pat_", drawn(27, URL_SAFE)), ("sbp_", drawn(40, HEX)),
    ("AGE-SECRET-KEY-1", drawn(58, UPPER)), ("fw_", drawn(24)), ("ntn_", drawn(46)), ("csk-", drawn(48, LOWER)),
    ("sq0atp-", drawn(22, URL_SAFE)), ("sq0csp-", drawn(43, URL_SAFE)), ("glpat-", drawn(20, URL_SAFE)),
    ("glptt-", drawn(40, HEX)), ("npm_", drawn(36)), ("pypi-AgEIcHlwaS5vcmc", drawn(60, URL_SAFE)),
    ("sk_live_", drawn(24)), ("rk_test_", drawn(24)), ("SG.", f"{drawn(22)}.{drawn(43)}"), ("SK", drawn(32, HEX)),
    ("AIza", drawn(35, URL_SAFE)), ("DefaultEndpointsProtocol=https;AccountKey=", drawn(86, BASE64) + "=="),
    ("SharedAccessKey=", drawn(43, BASE64) + "="), ("123456789:AA", drawn(33, URL_SAFE)),
    ("https://api.telegram.org/bot123456789:AA", drawn(33, URL_SAFE)), ("MTA", f"{drawn(21)}.{drawn(6)}.{drawn(27)}"),
    ("eyJ", f"{drawn(20)}.eyJ{drawn(30)}.{drawn(43, URL_SAFE)}"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\n", drawn(70)), ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", drawn(64)),
    ("postgres://alice:", drawn(12), "@db.example.org/x"), ("redis://:", drawn(12), "@cache:6379"),
    ("git+https://", drawn(30), "@github.com/org/x"), ("Authorization: Bearer ", drawn(30)),
    ("Authorization: Basic ", drawn(20)), ("DB_PASSWORD=", "hunter2hunter2"),
    ("export OPENAI_TOKEN='", drawn(30), "'"), ('"client_secret": "', drawn(24), '"'), ("clientSecret: ", drawn(24)),
    ("WANDB_API_KEY=", drawn(40, HEX)), ("pwd=", "hunter2!"),
    ("my password: ", "hunter2"), ("the api key: ", drawn(20)), ("--hub-token ", drawn(30)),
    ("https://x.org/data?se=2&sig=", drawn(43) + "%3D"), ("hf_oauth_", drawn(30)), ("tvly-", drawn(32)),
    ("lsv2_pt_", drawn(32, HEX)), ("key-", drawn(32, HEX)), ("shippo_live_", drawn(40, HEX)),
    ("pscale_tkn_", drawn(43, URL_SAFE)), ("https://x.webhook.office.com/webhookb2/", drawn(40)),
    # Of unknown services, without a name before.
    ("acme_live_", drawn(32)), ("zz9_", drawn(40, LOWER)), ("the one for the server, ", drawn(40)),
    ("", drawn(32, LOWER)), ("", drawn(40, BASE64)), ("MY_hf_", drawn(34)),
]  # fmt: skip


@pytest.mark.parametrize("parts", SECRETS)
def test_secrets_are_refused_and_masked(parts: tuple[str, ...]) -> None:
    before, secret, behind = (*parts, "")[:3]
    disclosure = f"Ours. {before}{secret}{behind}, and then trained on."
    with pytest.raises(Refused, match="seems to have a key, token or password") as refused:
        require_schema(replace(SUBMISSION, disclosure=disclosure).to_json(), "submission")
    message = str(refused.value)
    assert "Ours. " in message and not any(secret[start : start + 6] in message for start in range(1, len(secret) - 5))
    assert secret[-6:] not in mask_secrets(disclosure) and "***" in mask_secrets(disclosure)


HONEST = [
    "revision 0123456789abcdef0123456789abcdef01234567", "sha256 " + drawn(64, HEX),
    "SHA256: " + drawn(64, HEX).upper(), "sha256-" + drawn(43, BASE64) + "=", "0x" + drawn(20, HEX),
    "id 123e4567-e89b-12d3-a456-426614174000", "org/model@" + drawn(40, HEX), "HuggingFaceTB/SmolLM2-135M-Instruct",
    "TinyLlama-1B-intermediate-step-1431k-3T", "Qwen2-VL-7B-Instruct-AWQ-W4A16-G128",
    "Qwen2VLForConditionalGeneration", "PreTrainedTokenizerFast", "facebook/wav2vec2-large-xlsr-53-german",
    "DeepSeek-R1-Distill-Qwen-1.5B", "NVIDIA-Nemotron-Nano-9B-v2-FP8", "voyage-large-2-instruct",
    "ggml-model-Q4_K_M.gguf", "model-00001-of-00002.safetensors", "arXiv:2306.00946v2",
    "https://doi.org/10.48550/arXiv.2306.00946", "ORCID 0000-0002-1825-0097",
    "https://docs.google.com/document/d/" + drawn(44, URL_SAFE) + "/edit",
    f"https://huggingface.co/org/model/blob/{drawn(40, HEX)}/README.md",
    "https://docs.github.com/en/webhooks/using-webhooks/creating", "harness eval --model org/name --max-tokens 32",
    "harness eval --set flipflop.length=256 --limit 100",
    "max_tokens=4096, eos_token=<|endoftext|>, pad_token: [PAD]", "bos_token: begin_of_text",
    "tokenizer: GPT2TokenizerFast", "sort_key=word_length2", "token=$HF_TOKEN", "password=********",
    "password: none yet", "PWD=$HOME", "secret: 42",
    "--api-key YOUR_API_KEY_HERE", "The key: practice. The tokens: many.", "fw_bw_compatible_kernel",
    "secret_word_of_the_day", "xai-explainability-methods", "glove-based-embeddings-x", "a=1 b=2 key=3",
    "git+https://github.com/org/fflm@" + drawn(40, HEX), "ssh://git@github.com/org/name",
    "mail alice@example.org at 12:30",
    "You are a careful assistant.\nCount the letters one by one.\n\nKey points:\n- say nothing\n- answer: a number",
    "The secret of its success: nothing. No password is needed; risk-adjusted, sk-learn was used.",
    "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft",
    "train-20240101T000000Z.jsonl",
]  # fmt: skip


@pytest.mark.parametrize("text", HONEST)
def test_texts_without_secrets_are_accepted(text: str) -> None:
    assert not has_secret(text) and mask_secrets(text) == text
    require_schema(replace(SUBMISSION, disclosure=f"It is {text}").to_json(), "submission")


@pytest.mark.parametrize(("count", "signs"), [(40, BOTH), (32, BOTH), (32, LOWER), (40, BASE64)])
def test_random_keys_are_detected(count: int, signs: str) -> None:
    found = [has_secret(f"It is {drawn(count, signs, seed)}.") for seed in range(1000)]
    assert sum(found) >= 980


def test_hashes_are_not_secrets() -> None:
    for count in (7, 12, 32, 40, 64, 128):
        for seed in range(200):
            assert not has_secret(f"at {drawn(count, HEX, seed)}, ({drawn(count, HEX.upper(), seed)})")


@pytest.mark.parametrize(
    ("text", "stays"), [(drawn(40), True), ("hf_" + drawn(34), False), ("password=hunter22", False)]
)
def test_accepted_texts_are_refused_only_for_certain_secrets(text: str, stays: bool) -> None:
    submission = replace(SUBMISSION, disclosure=f"With {text}.").to_json()
    with pytest.raises(Refused, match="seems to have a key"):
        require_schema(submission, "submission")
    if stays:
        require_schema(submission, "submission", new=False)
    else:
        with pytest.raises(Refused, match="seems to have a key"):
            require_schema(submission, "submission", new=False)


def test_nonce_may_look_like_a_key() -> None:
    """A nonce is random text, but not a key."""
    require_valid_author("Bob", drawn(40))
    with pytest.raises(UserError, match="seems to have a key"):
        require_valid_author("Bob", "hf_" + drawn(34))


@pytest.mark.parametrize("path", ["contact", "licence", "division", "submitted"])
def test_no_field_quotes_a_secret(path: str) -> None:
    """Whatever else is wrong with the text."""
    secret = "hf_" + drawn(34)
    for text in (secret, f"\u200b{secret}", f"{secret[:9]}\u200b{secret[9:]}", f"two\n{secret}", f"<b>{secret}"):
        with pytest.raises(Refused) as refused:
            require_schema(SUBMISSION.to_json() | {path: text}, "submission")
        assert secret[8:20] not in str(refused.value) and secret[-12:] not in str(refused.value)


@pytest.mark.parametrize("value", ["x hf_" + drawn(34), ["hf_" + drawn(34)], {"password": "hunter2hunter2"}])
def test_quotes_are_masked(value: object) -> None:
    assert "***" in quote(value) and drawn(34)[8:] not in quote(value) and "hunter2" not in quote(value)
    assert quote("plain \u00e9") == "'plain \\xe9'"


def test_command_line_does_not_print_secrets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    secret = "dckr_pat_" + drawn(27)
    terms = [*TERMS, "--disclosure", f"With {secret}"]
    assert main(["leaderboard", "withdraw", str(tmp_path), "--reason", secret]) == 2
    assert main(["submit", str(tmp_path), "--dry-run", *terms]) == 2
    assert secret[12:] not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "unit",
    ["A", "a1", "--", "secret", "key=", "key: a", "://", "sk-", "hooks.", "eyJ", "0", "Az0+", "-----BEGIN ", "M" * 9],
)
def test_secret_detection_is_fast(unit: str) -> None:
    for text in (unit * 4000)[:4000], (unit * 4000)[:3999] + "!":
        start = time.process_time()
        has_secret(text), mask_secrets(text)
        assert time.process_time() - start < 1
