"""From a request to work: jobs, plans of token ids and scored positions, the work queue."""
