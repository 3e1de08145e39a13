"""The static site: records and runs in, a folder of pages out, every number recomputed on the way.

verified -> entries -> ranks -> plots -> pages and feeds -> build; serve shows the folder on this machine.
"""
