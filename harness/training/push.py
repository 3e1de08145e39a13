"""Pushes a trained model to the Hub, in one commit."""

from pathlib import Path

from huggingface_hub.errors import OfflineModeIsEnabled

from fflm_data.hub import MODEL, hub_errors, invalid_name_error, require_token
from harness.errors import UserError

# Files of the training that belong to no model.
IGNORED = ["checkpoints/*", ".*"]


def require_pushable(repository: str) -> None:
    """Raises HubError unless a token is configured, the name is one of a repository, and the Hub may be used."""
    from huggingface_hub import constants
    from huggingface_hub.utils import validate_repo_id

    require_token("push")
    with hub_errors(repository, "push to it", MODEL):
        validate_repo_id(repository)
        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled
    if "/" not in repository:
        raise invalid_name_error(repository)


def push(folder: Path, repository: str) -> str:
    """Creates the model repository if needed and uploads the folder. Returns the URL of the commit."""
    from huggingface_hub import HfApi

    require_pushable(repository)
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder} holds no trained model: train it first")
    api = HfApi()
    with hub_errors(repository, "push to it", MODEL):
        api.create_repo(repository, repo_type=MODEL, exist_ok=True)
        info = api.upload_folder(
            repo_id=repository, folder_path=folder, repo_type=MODEL, ignore_patterns=IGNORED,
            commit_message="Model trained with fflm",
        )  # fmt: skip
    return str(info.commit_url)
