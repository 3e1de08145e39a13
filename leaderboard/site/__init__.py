"""The static site: builds a folder of pages from records and runs, with every number recomputed.

findings -> entries -> rows -> ranks -> plots -> pages and feeds -> build; `serve` shows the folder locally.
"""
