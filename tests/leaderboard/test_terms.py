"""What people say of themselves: a contact that somebody can reach, a disclosure that tells something; the same with a
place to send it to and without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from leaderboard.submission_file import submission_from_options
from leaderboard.verification.refusal import Refused
from leaderboard.verification.terms import require_terms
from tests.conftest import Run, refused
from tests.leaderboard.record_edits import SUBMISSION, TERMS

OURS, NOBODY, NO_ADDRESS = (
    "looks like the maintainers",
    "does not identify a person",
    "is in a reserved or local domain",
)
LOOKS, FOREIGN = "mixes letters that look alike", "letters outside ASCII"

CONTACTS = [
    *((one, OURS) for one in ("fflm", "FFLM", "maintainers", "admin", "Administrator", "root")),
    *((one, OURS) for one in ("the owner", "webmaster")),
    *((one, OURS) for one in ("m\u00e0intainers of fflm", "ma\u0131ntainers", "official fflm team", "moderators")),
    *((one, NOBODY) for one in ("null", "None", "n/a", "N/A.", "unknown", "me", "your name", "test")),
    *((one, NOBODY) for one in ("anonymous", "Someone", "[contact]", "e-mail", "user name", "TODO", "...", "?")),
    *((one, NO_ADDRESS) for one in ("x@example.com", "ada <ada@mail.example.org>", "ada at example.net", "a@b.test")),
    *((one, NO_ADDRESS) for one in ("ada@x.invalid", "ada@localhost", "http://localhost:8000", "ada@lab.example")),
    *((one, NO_ADDRESS) for one in ("ada@domain.com", "you@yourcompany.com", "ada@192.168.1.2")),
    *((one, NO_ADDRESS) for one in ("127.0.0.1", "a@pc.local")),
    ("noreply@lab.ai", "that nobody reads"), ("do-not-reply@lab.ai", "that nobody reads"),
    ("ada@users.noreply.github.com", "that nobody reads"),
    *((one, "has an invalid address") for one in ("ada@hf", "ada@", "ada@lab..ai", "ada@@lab.ai", "ada@lab.4")),
    # Cyrillic a, o; Greek Alpha; script g; Cherokee; another hyphen. Mathematical letters are in another test.
    *((one, LOOKS) for one in ("\u0430da", "ada@g\u043eogle.com", "\u0430da@lab.ai", "\u0391da L", "\u0261it-fan")),
    *((one, LOOKS) for one in ("\u13aa\u13b1\u13aa", "ada\u2010lab", "ad\u0251", "L\u0586b", "\ua4ee\ua4d3")),
    ("ada\u2215lab", LOOKS),
    ("\u0440\u0430\u0440\u0430", "looks like Latin"), ("\u03bf\u03c1\u03b1", "looks like Latin"),
    ("\u0421\u0410\u0420\u0410", "looks like Latin"),
    ("ren\u00e9@lab.ai", FOREIGN), ("rene@b\u00fccher.de", FOREIGN), ("\u4e0d\u660e@lab.ai", FOREIGN),
    ("ren\u00e9_01", FOREIGN),
]  # fmt: skip


@pytest.mark.parametrize(("contact", "message"), CONTACTS)
def test_unreachable_contacts_are_refused(contact: str, message: str) -> None:
    with pytest.raises(Refused) as refusal:
        require_terms(replace(SUBMISSION, contact=contact).to_json())
    assert message in str(refusal.value) and str(refusal.value).isascii()


@pytest.mark.parametrize(
    "contact",
    [
        "alice", "Ada", "org", "a tester", "alice_01", "fflm-fan", "testing-lab", "https://huggingface.co/alice",
        "alice@here.dev", "mailto:alice@lab.ai", "Ali <3, alice@example-lab.com", "admin@smollm.ai",
        "a.b+c@cs.uni-x.edu",
        "alice (@alice@mastodon.social)", "the maintainers of SmolLM2", "the authors of this model", "O\u2019Brien",
        "Ren\u00e9", "Ren\u00e9 D\u00e9 (rene@posteo.de)", "I\u015f\u0131k Y\u0131lmaz", "Nguy\u1ec5n V\u0103n A",
        "\u0141ukasz",
        "\u0410\u043d\u043d\u0430 \u0418\u0432\u0430\u043d\u043e\u0432\u0430", "\u0391\u03bb\u03ad\u03be\u03b7\u03c2",
        "\u674e\u660e", "\u5c71\u7530\u592a\u90ce", "\u30bf\u30ed\u30a6", "\uae40\ucca0\uc218",
        "\u0645\u062d\u0645\u062f",
        "\u0926\u0947\u0935\u0940", "\u05e9\u05e8\u05d4", "\u0531\u0576\u056b", "Ada \u674e",
    ],
)  # fmt: skip
def test_contacts_are_accepted(contact: str) -> None:
    require_terms(replace(SUBMISSION, contact=contact).to_json())


@pytest.mark.parametrize(
    "disclosure",
    ["n/a", "N.A.", "todo", "TBD", "null", "undefined", "yes", "ok", "xx", "-", ".", "...", "?", "Dummy", "as above"],
)
def test_empty_disclosures_are_refused(disclosure: str) -> None:
    """The one-line error says what to write if there is nothing to disclose."""
    for wrong in (
        lambda: submission_from_options(_terms(disclosure=disclosure), None, "2026-11-21"),
        lambda: _require_disclosure(disclosure),
    ):
        with pytest.raises((UserError, Refused)) as refusal:
            wrong()
        message = str(refusal.value)
        assert "has no content" in message and "or 'None.' if there is nothing" in message and "\n" not in message


@pytest.mark.parametrize(
    "disclosure",
    ["None.", "none", "no", "nothing", "Nothing to disclose.", "\u7121\u3057", "keine", "No tie; all else is unknown."],
)
def test_none_is_a_valid_disclosure(disclosure: str) -> None:
    assert submission_from_options(_terms(disclosure=disclosure), None, "2026-11-21").disclosure == disclosure
    _require_disclosure(disclosure)


def _require_disclosure(disclosure: str) -> None:
    require_terms(replace(SUBMISSION, disclosure=disclosure).to_json())


def _terms(**changed: Any) -> dict[str, Any]:
    return dict(zip([word[2:] for word in TERMS[::2]], TERMS[1::2], strict=True)) | changed


@pytest.mark.parametrize(("contact", "message"), [("fflm", OURS), ("x@example.com", NO_ADDRESS), ("\u0430da", LOOKS)])
def test_terms_are_checked_with_and_without_target(
    cli: Run, finished: Path, tmp_path: Path, contact: str, message: str
) -> None:
    (tmp_path / "records").mkdir()
    for place in ([], ["--to", tmp_path]):
        assert message in refused(cli("harness", "submit", finished, *TERMS, "--contact", contact, "--dry-run", *place))
