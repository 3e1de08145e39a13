"""What tests of several parts share: tiny models and tokenizers, runs in processes of their own."""
