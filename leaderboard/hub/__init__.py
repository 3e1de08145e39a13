"""What goes to the Hugging Face Hub and comes from it: records, results on models' own pages, the site as a Space."""
