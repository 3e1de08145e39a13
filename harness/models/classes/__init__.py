"""Model classes that transformers lacks. `register()` makes them known to its Auto classes.

Recurrent language models (LSTM, GRU), a GPT-2-like Transformer with a choice of positions, and its variant that
predicts a count. Everything else is trained and loaded with the classes of transformers.
"""


def register() -> None:
    """Registers all classes with the Auto classes of transformers; further calls change nothing."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    from harness.models.classes.counting import CountingTransformer, CountingTransformerConfig
    from harness.models.classes.recurrent import GRUConfig, GRUForCausalLM, LSTMConfig, LSTMForCausalLM
    from harness.models.classes.transformer import TransformerConfig, TransformerForCausalLM

    for auto, config, model in (
        (AutoModelForCausalLM, LSTMConfig, LSTMForCausalLM),
        (AutoModelForCausalLM, GRUConfig, GRUForCausalLM),
        (AutoModelForCausalLM, TransformerConfig, TransformerForCausalLM),
        (AutoModelForSequenceClassification, CountingTransformerConfig, CountingTransformer),
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        auto.register(config, model, exist_ok=True)
