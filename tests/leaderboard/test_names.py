"""Names that pass for one another, and families of honest ones that do not."""

import re
from itertools import combinations

import pytest

from leaderboard.verification.names import pass_for_each_other

# Models of the Hub as their makers name them, the sizes and versions of a family among them.
FAMILIES = {
    "HuggingFaceTB": "SmolLM-135M SmolLM-360M SmolLM-1.7B SmolLM2-135M SmolLM2-360M SmolLM2-1.7B SmolLM3-3B "
    "SmolVLM-256M",
    "meta-llama": "Llama-2-7b Llama-2-13b Llama-2-70b Meta-Llama-3-8B Llama-3.1-8B Llama-3.1-70B "
    "Llama-3.1-405B Llama-3.2-1B Llama-3.2-3B Llama-3.2-11B-Vision Llama-3.3-70B "
    "Llama-4-Scout-17B-16E Llama-Guard-3-1B Llama-Guard-3-8B",
    "Qwen": "Qwen-1_8B Qwen-7B Qwen-14B Qwen1.5-0.5B Qwen1.5-4B Qwen1.5-7B Qwen1.5-14B Qwen2-0.5B "
    "Qwen2-1.5B Qwen2-7B Qwen2.5-0.5B Qwen2.5-1.5B Qwen2.5-3B Qwen2.5-7B Qwen2.5-14B "
    "Qwen2.5-32B Qwen2.5-72B Qwen3-0.6B Qwen3-1.7B Qwen3-4B Qwen3-8B Qwen3-14B Qwen3-30B-A3B "
    "Qwen3-235B-A22B Qwen2-VL-2B Qwen2-VL-7B Qwen2.5-VL-3B Qwen2.5-VL-7B QwQ-32B",
    "google": "gemma-2b gemma-7b gemma-2-2b gemma-2-9b gemma-2-27b gemma-3-1b-pt gemma-3-4b-pt "
    "gemma-3-12b-pt gemma-3-270m gemma-3n-E2B gemma-3n-E4B recurrentgemma-2b recurrentgemma-9b "
    "codegemma-2b codegemma-7b",
    "facebook": "opt-125m opt-350m opt-1.3b opt-2.7b opt-6.7b opt-13b opt-30b opt-66b xglm-564M xglm-1.7B "
    "xglm-4.5B",
    "EleutherAI": "pythia-14m pythia-31m pythia-70m pythia-160m pythia-410m pythia-1b pythia-1.4b pythia-2.8b "
    "pythia-6.9b pythia-12b pythia-70m-deduped gpt-neo-125m gpt-neo-1.3B gpt-neo-2.7B gpt-j-6b "
    "gpt-neox-20b",
    "microsoft": "phi-1 phi-1_5 phi-2 Phi-3-mini-4k Phi-3-mini-128k Phi-3-small-8k Phi-3.5-mini phi-4 "
    "Phi-4-mini DialoGPT-small bitnet-b1.58-2B-4T",
    "openai-community": "gpt2 gpt2-medium gpt2-large gpt2-xl",
    "openai": "gpt-oss-20b gpt-oss-120b",
    "mistralai": "Mistral-7B-v0.1 Mistral-7B-v0.2 Mistral-7B-v0.3 Mixtral-8x7B-v0.1 Mixtral-8x22B-v0.1 "
    "Ministral-8B-2410 Mistral-Small-24B-2501 Mistral-Nemo-2407",
    "state-spaces": "mamba-130m mamba-370m mamba-790m mamba-1.4b mamba-2.8b mamba2-130m mamba2-370m",
    "deepseek-ai": "DeepSeek-V2 DeepSeek-V2.5 DeepSeek-V3 DeepSeek-V3.1 DeepSeek-V3-0324 DeepSeek-R1 "
    "DeepSeek-R1-0528",
    "tiiuae": "falcon-7b falcon-40b falcon-180B Falcon3-1B Falcon3-3B Falcon3-7B Falcon-H1-0.5B "
    "Falcon-H1-1.5B",
    "THUDM": "glm-4-9b GLM-4-32B-0414 glm-edge-1.5b",
    "zai-org": "GLM-4.5 GLM-4.6 GLM-4.5-Air",
    "01-ai": "Yi-6B Yi-9B Yi-34B",
    "ibm-granite": "granite-3.0-2b granite-3.0-8b granite-3.1-2b granite-3.1-8b granite-4.0-h-1b",
    "bigscience": "bloom-560m bloom-1b1 bloom-1b7 bloom-3b bloom-7b1 bloomz-560m",
    "allenai": "OLMo-1B OLMo-7B OLMo-2-7B",
    "stabilityai": "stablelm-2-1_6b stablelm-2-12b stablelm-3b-4e1t",
    "RWKV": "rwkv-4-169m rwkv-5-world-1b5 rwkv-6-world-1b6",
}  # fmt: skip
# What somebody would write in the place of each sign.
LOOKS = {
    "2": "Z", "5": "S", "0": "O", "1": "l", "l": "I", "I": "1", "o": "0", "S": "5", "Z": "2", "q": "g", "m": "rn",
    "w": "vv", "d": "cl", "i": "l", "O": "0", "s": "5", "z": "2",
}  # fmt: skip


@pytest.mark.slow("leaderboard/verification")
def test_no_honest_name_passes_for_another() -> None:
    names = [f"{org}/{name}{ending}" for org, of in FAMILIES.items() for name in of.split() for ending in ("", "-it")]
    assert len(names) > 300
    assert [pair for pair in combinations(names, 2) if pass_for_each_other(*pair)] == []
    assert [pair for pair in combinations(FAMILIES, 2) if pass_for_each_other(*pair)] == []


def test_a_changed_sign_of_them_is_found() -> None:
    """Every sign of every name in turn. What is left: a number alone, as a letter may honestly stand in its place."""
    for name in (f"{org}/{name}" for org, of in FAMILIES.items() for name in of.split()):
        for place, sign in enumerate(name):
            other = name[:place] + LOOKS.get(sign, sign) + name[place + 1 :]
            alone = sign == "2" and re.search(r"(?<![A-Za-z0-9])2$", name[: place + 1])
            assert pass_for_each_other(name, other) or alone, other
