"""Verification of submitted records: files, form, data, tables, scores, duplicates, sender."""
