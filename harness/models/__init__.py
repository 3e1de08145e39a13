"""Models: from an id or a folder to a pinned source, its tokenizer and its loaded weights."""
