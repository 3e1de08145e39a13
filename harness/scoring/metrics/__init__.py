"""The scores as `evaluate` metrics, for use outside the harness. Each module is imported on its own
because `evaluate` takes seconds to import; none needs the network."""
