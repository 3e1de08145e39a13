"""Reports: tables for terminal and files, plots, and the HTML pages of one run and of several.

Entry points: `table.print_scores`, `comparison_table.show`, `page.write_report`, `page.write_comparison`.
"""
