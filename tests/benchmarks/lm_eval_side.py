"""Scores documents with lm-evaluation-harness on a loaded model.

Needs `pip install lm-eval==0.4.13`. The seconds are those of `lm_eval.evaluate`: prompts, tokens, forward passes,
metrics; without imports, loading and creating the in-memory task.
"""

import copy
import time
from typing import Any

from datasets import Dataset
from lm_eval import evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

# The fastest of 1, 2, 4, 8 (and 16 for completions) with SmolLM2-135M on two CPU cores.
CHOICES_BATCH = 1
COMPLETIONS_BATCH = 8


def choices(
    model: Any, tokenizer: Any, contexts: list[str], symbols: tuple[str, ...], batch_size: int | str = CHOICES_BATCH
) -> tuple[list[int], float]:
    """Index of the most probable symbol after each context and a space, and the elapsed seconds.

    The context ends before that space, which lm-eval itself puts between context and choice, and symbols have none.
    "auto" first runs five batches of up to 64 of the longest contexts, logits of every position included.
    """
    details = {"output_type": "multiple_choice", "doc_to_choice": list(symbols), "target_delimiter": " "}
    metric = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    task, seconds = _evaluated(model, tokenizer, contexts, batch_size, details | {"metric_list": [metric]})
    responses: list[list[float]] = [[] for _ in contexts]
    for instance in task.instances:  # in the order of the documents, and in each of its choices
        responses[instance.doc_id].append(instance.resps[0][0])
    assert all(len(logprobs) == len(symbols) for logprobs in responses)
    return [max(range(len(symbols)), key=logprobs.__getitem__) for logprobs in responses], seconds


def completions(
    model: Any, tokenizer: Any, prompts: list[str], max_new_tokens: int, batch_size: int | str = COMPLETIONS_BATCH
) -> tuple[list[str], float]:
    """Greedy outputs after each prompt, up to the first line break, and the elapsed seconds.

    "auto" is too slow on a CPU: it starts with batches of 64 texts of the model's full context.
    A tokenizer without an end-of-text token has nothing to pad with: then batch_size=1.
    """
    generation = {"until": ["\n"], "do_sample": False, "max_gen_toks": max_new_tokens}
    details = {"output_type": "generate_until", "generation_kwargs": generation}
    metric = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    task, seconds = _evaluated(model, tokenizer, prompts, batch_size, details | {"metric_list": [metric]})
    responses = {instance.doc_id: str(instance.resps[0]) for instance in task.instances}
    return [responses[row] for row in range(len(prompts))], seconds


def _evaluated(
    model: Any, tokenizer: Any, texts: list[str], batch_size: int | str, details: dict[str, Any]
) -> tuple[Any, float]:
    """A task of the documents after its evaluation, with the model's outputs, and the elapsed seconds."""
    # lm-eval gives the tokenizer a token to pad with and leaves padding on: it gets one of its own.
    tokenizer = copy.deepcopy(tokenizer)
    if tokenizer.eos_token is None:  # lm-eval does not run without: a new one, which no text has in it
        tokenizer.add_special_tokens({"eos_token": "<|eos|>"})
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
    documents = Dataset.from_dict({"text": texts, "answer": [0] * len(texts)})
    config = {
        "task": "documents",
        "custom_dataset": lambda: {"test": documents},
        "test_split": "test",
        "doc_to_text": "text",  # a column, taken as it is, and no template
        "doc_to_target": "answer",  # the target is not needed: the metric is timed and ignored
        "num_fewshot": 0,
    }
    task = ConfigurableTask(config=config | details)
    start = time.perf_counter()
    evaluate(lm, {"documents": task}, bootstrap_iters=0, log_samples=False)
    return task, time.perf_counter() - start
