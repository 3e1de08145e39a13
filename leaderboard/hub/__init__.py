"""Exchange with the Hugging Face Hub: records, results on model pages, the site as a Space."""
