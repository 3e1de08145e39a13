"""Shared test helpers: tiny models and tokenizers, chat templates, evaluations in subprocesses."""
