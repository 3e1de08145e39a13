"""Reports for people: from a run's observations to arrays, from arrays to plots, from plots to a page.

`page.write_report` and `page.write_comparison` are the ways in.
"""
